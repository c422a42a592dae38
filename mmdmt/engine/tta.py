"""Test-time augmentation."""

import copy

from mmengine.config import Config

# Defaults of the toolboxes' own tools and data set configs.
MODELS = {'mmseg': 'SegTTAModel', 'mmpretrain': 'AverageClsScoreTTA'}
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def enable_tta(cfg: Config) -> None:
    """Average test predictions over several views of each image.

    ``tta_model`` and ``tta_pipeline`` of the config define how. The default views are those of mmsegmentation (six
    scales, each with its mirror image) and mmpretrain (the image and its mirror image).

    Args:
        cfg: An ordinary config, changed in place.
    """
    scope = cfg.get('default_scope', 'mmseg')
    dataset = cfg.test_dataloader.dataset
    pipeline = cfg.get('tta_pipeline') or _default_pipeline(dataset.pipeline, scope)
    cfg.model = dict(cfg.get('tta_model') or dict(type=MODELS[scope]), module=cfg.model)
    dataset.pipeline = copy.deepcopy(pipeline)


def _default_pipeline(test_pipeline: list, scope: str) -> list:
    views = [[dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)]]
    if scope == 'mmseg':
        views.insert(0, [dict(type='Resize', scale_factor=scale, keep_ratio=True) for scale in SCALES])
    # Predictions are resized and flipped back to the image, so its label map is loaded after the views.
    types = [transform['type'] for transform in test_pipeline]
    place = types.index('LoadAnnotations') if 'LoadAnnotations' in types else len(types) - 1
    after = [[transform] for transform in test_pipeline[place:]]
    return [*test_pipeline[:place], dict(type='TestTimeAug', transforms=[*views, *after])]

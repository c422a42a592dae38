"""Lists the published-code behaviors of a run, for its log and its report."""

from collections.abc import Iterator, Mapping

from mmdmt.config_dicts import dicts_of_type, stock_model
from mmdmt.engine.plan import RunPlan


def published_behaviours(plan: RunPlan) -> list[str]:
    """Return one sentence per behavior of the published code that a run shows and that has an alternative here.

    Most are options; the configs of the paper's experiments show some by default, since its figures were made with
    them. The table in docs/paper.md has all.
    """
    models = (
        f'model {name}: {found}'
        for name, configs in plan.configs.items()
        for behaviours in (_of_model, _of_loss, _of_hooks)
        for found in behaviours(configs['semi'])
    )
    # Two heads or losses of a model can show the same.
    return list(dict.fromkeys([*_of_settings(plan), *_of_data(plan), *models]))


def _of_settings(plan: RunPlan) -> Iterator[str]:
    settings = plan.settings
    if settings.select == 'val':
        yield "dmt.select='val': each phase hands over its best checkpoint on the validation set"
    if settings.label_amp:
        yield 'dmt.label_amp=True: images are labeled in mixed precision'
    stride = settings.label_writer.get('rank_stride', 1)
    if stride > 1:
        yield f'dmt.label_writer.rank_stride={stride}: one in {stride} pixels is ranked'
    if settings.label_writer.get('half'):
        yield 'dmt.label_writer.half=True: confidences are rounded to half precision'


def _of_data(plan: RunPlan) -> Iterator[str]:
    settings = plan.settings
    training = [settings.labeled, settings.unlabeled, settings.supervised, settings.semi, settings.models]
    if any(step.get('ranges', 'published') == 'published' for step in dicts_of_type(training, 'SmallImageRandAugment')):
        yield 'SmallImageRandAugment ranges=published: wide ranges and black fill, 9 % of the images become blank'
    if any(dicts_of_type(training, 'OwnSizeRandomResize')):
        yield "OwnSizeRandomResize: random scales are relative to each image's own size"
    config = next(iter(plan.configs.values()))['semi']
    if any(dicts_of_type(config.get('val_dataloader'), 'ResizeLabels')):
        yield 'ResizeLabels: validation compares with truth of the size of the tested image, not of the file'


def _of_model(config: Mapping) -> Iterator[str]:
    model = stock_model(config['model'])
    preprocessor, backbone = model.get('data_preprocessor') or {}, model.get('backbone') or {}
    for head in dicts_of_type(model, 'DeepLabV2Head'):
        if tuple(head.get('dilations', ())) == (6, 12):
            yield 'dilations=(6, 12): the head sums two of its four branches'
        if head.get('align_corners'):
            yield 'align_corners=True: the corners of logits and image coincide'
    if backbone.get('contract_dilation'):
        yield 'contract_dilation=True: the first block of a stage has the previous dilation'
    test_size = (preprocessor.get('test_cfg') or {}).get('size')
    if test_size:
        yield f'images to label and to test are padded to {tuple(test_size)}'
    if preprocessor.get('bgr_to_rgb') is False and backbone.get('style') == 'pytorch':
        yield "style='pytorch': a V1.5 ResNet with weights in Caffe form"
    if preprocessor.get('pad_val', 0) < 0:
        yield f'pad_val={preprocessor["pad_val"]}: padding is darker than the mean color'


def _of_loss(config: Mapping) -> Iterator[str]:
    model = stock_model(config['model'])
    mixup = model.get('mixup') or {}
    if mixup and mixup.get('weighting', 'image') == 'image':
        yield "mixup.weighting='image': a rejected label regains weight through its mixup partner"
    for loss in dicts_of_type(model, 'DynamicMutualLoss'):
        if loss.get('variant') == 'naive' and loss.get('gamma1') == loss.get('gamma2') == 1:
            yield "variant='naive' with gamma 1: weights without an exponent"


def _of_hooks(config: Mapping) -> Iterator[str]:
    for hook in config.get('custom_hooks') or []:
        if hook.get('type') == 'EMAHook' and hook.get('update_buffers') is False:
            yield 'EMAHook update_buffers=False: batch norm is not averaged'
        if hook.get('type') == 'EMAHook' and hook.get('momentum', 0) > 0.5:
            yield f'EMAHook momentum={hook["momentum"]}: nearly no averaging of weights'

"""Which behaviours of the published code a run has switched on, to be said wherever its results are."""

from mmengine.config import Config

from mmdmt.engine.phase_config import dicts_of_type, model_config
from mmdmt.engine.settings import DMTSettings


def published_behaviours(cfg: Config, settings: DMTSettings) -> list[str]:
    """Sentences, one for each behaviour of the published code that differs from ours and is on in this run."""
    found = []
    if settings.select == 'val':
        found.append("dmt.select='val': each phase hands over the checkpoint that is best on the validation set")
    if settings.rank_stride > 1:
        found.append(f'dmt.rank_stride={settings.rank_stride}: one in {settings.rank_stride} pixels is ranked')
    if settings.confidence_dtype == 'float16':
        found.append("dmt.confidence_dtype='float16': confidences are rounded to half precision")
    for name in settings.models:
        config = model_config(cfg, settings, name, 'semi')
        model = config['model']
        preprocessor, backbone = model.get('data_preprocessor') or {}, model.get('backbone') or {}
        for head in dicts_of_type(model, 'DeepLabV2Head'):
            if tuple(head.get('dilations', ())) == (6, 12):
                found.append(f'model {name}: dilations=(6, 12): the head sums two of its four branches')
        if preprocessor.get('bgr_to_rgb') is False and backbone.get('style') == 'pytorch':
            found.append(f"model {name}: style='pytorch': a ResNet of V1.5 on weights in Caffe form")
        if preprocessor.get('pad_val', 0) < 0:
            found.append(f'model {name}: pad_val={preprocessor["pad_val"]}: borders darker than the mean colour')
        for hook in config.get('custom_hooks') or []:
            if hook.get('type') == 'EMAHook' and hook.get('momentum', 0) > 0.5:
                found.append(f'model {name}: EMAHook momentum={hook["momentum"]}: the average is nearly the last step')
    return found

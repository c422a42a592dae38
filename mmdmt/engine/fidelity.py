"""Lists the published-code behaviors that a run enables, for its log and its report."""

from mmdmt.config_dicts import dicts_of_type, stock_model
from mmdmt.engine.plan import RunPlan


def published_behaviours(plan: RunPlan) -> list[str]:
    """Return one sentence per enabled behavior of the published code that differs from ours."""
    settings, found = plan.settings, []
    if settings.select == 'val':
        found.append("dmt.select='val': each phase hands over its best checkpoint on the validation set")
    stride = settings.label_writer.get('rank_stride', 1)
    if stride > 1:
        found.append(f'dmt.label_writer.rank_stride={stride}: one in {stride} pixels is ranked')
    if settings.label_writer.get('half'):
        found.append('dmt.label_writer.half=True: confidences are rounded to half precision')
    for name, configs in plan.configs.items():
        config = configs['semi']
        model = stock_model(config['model'])
        preprocessor, backbone = model.get('data_preprocessor') or {}, model.get('backbone') or {}
        for head in dicts_of_type(model, 'DeepLabV2Head'):
            if tuple(head.get('dilations', ())) == (6, 12):
                found.append(f'model {name}: dilations=(6, 12): the head sums two of its four branches')
        if backbone.get('contract_dilation'):
            found.append(f'model {name}: contract_dilation=True: the first block of a stage has the previous dilation')
        test_size = (preprocessor.get('test_cfg') or {}).get('size')
        if test_size:
            found.append(f'model {name}: images to label and to test are padded to {tuple(test_size)}')
        if preprocessor.get('bgr_to_rgb') is False and backbone.get('style') == 'pytorch':
            found.append(f"model {name}: style='pytorch': a V1.5 ResNet with weights in Caffe form")
        if preprocessor.get('pad_val', 0) < 0:
            found.append(f'model {name}: pad_val={preprocessor["pad_val"]}: padding is darker than the mean color')
        for hook in config.get('custom_hooks') or []:
            if hook.get('type') == 'EMAHook' and hook.get('update_buffers') is False:
                found.append(f'model {name}: EMAHook update_buffers=False: batch norm is not averaged')
            if hook.get('type') == 'EMAHook' and hook.get('momentum', 0) > 0.5:
                found.append(f'model {name}: EMAHook momentum={hook["momentum"]}: nearly no averaging of weights')
    return found

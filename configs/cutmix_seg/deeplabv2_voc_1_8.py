_base_ = ['../dmt/deeplabv2_voc_1_20.py', '../_base_/methods/views_seg.py']
# CutMix-Seg: the student predicts mixed images as the average teacher predicts their parts.
model = dict(_delete_=True, type='CutMixSeg', model=_base_.model)
geometry = [transform for transform in _base_.dmt.unlabeled.pipeline if 'DMT' not in transform.type]
dmt = dict(
    split=dict(ratio=8),  # 1,322 labeled images
    unlabeled=dict(pipeline=[*geometry, _base_.one_view]),
    scheme='single',
    models=dict(
        _delete_=True,
        a=dict(
            load_from='pretrained/deeplabv2_r101_coco_voc.pth',
            weights_help=_base_.coco_weights.weights_help,
            model=dict(model=_base_.coco_weights.model))),
    supervised=dict(epochs=85),
    semi=dict(epochs=25))  # as many steps and images as all phases of DMT after the baseline

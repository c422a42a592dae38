_base_ = ['../dmt/deeplabv3plus_r101_voc_1_8.py', '../_base_/methods/views_seg.py']
# UniMatch on the "original" split: 183 of VOC's own 1,464 training images are labeled, in data_root/splits/pascal.
# Output stride 16, and ten times the rate for the head, as published.
student = dict(
    _base_.model,
    backbone=dict(_base_.model.backbone, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
    decode_head=dict(_base_.model.decode_head, dilations=(1, 6, 12, 18)),
    auxiliary_head=None)
model = dict(_delete_=True, type='UniMatch', model=student)
train_pipeline = [
    dict(transform, ratio_range=(0.5, 2.0)) if transform.type == 'RandomResize' else transform
    for transform in _base_.train_pipeline
]
geometry = [transform for transform in train_pipeline if 'DMT' not in transform['type']]
pool = dict(type='VOCImageMaskList', data_root=_base_.data_root)
optim_wrapper = dict(
    optimizer=dict(lr=1e-3, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=10.0))))
dmt = dict(
    split=None,
    scheme='single',
    models=dict(_delete_=True, a=dict(weights_help=_base_.weights_help)),
    labeled=dict(_delete_=True, ann_file='splits/pascal/183/labeled.txt', pipeline=train_pipeline, **pool),
    unlabeled=dict(
        _delete_=True,
        ann_file='splits/pascal/183/unlabeled.txt',
        pipeline=[*geometry, _base_.weak_two_strong],
        **pool),
    supervised=dict(_delete_=True),  # one phase, from ImageNet weights
    semi=dict(epochs=80, labeled_per_batch=8, unlabeled_per_batch=8))

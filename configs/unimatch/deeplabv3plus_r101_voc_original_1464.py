_base_ = [
    '../_base_/models/deeplabv3plus_r101-d8.py',
    '../_base_/datasets/voc12.py',
    '../_base_/schedules/sgd_poly.py',
    '../_base_/default_runtime_seg.py',
    '../_base_/methods/views_seg.py',
]
runner_type = 'DMTRunner'
# UniMatch on the "original" split: labeled images out of VOC's own 1,464 training images, as lists in
# data_root/splits/pascal name them.
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
geometry = [transform for transform in train_pipeline if transform['type'] not in _base_.of_labels]
pool = dict(type='VOCImageMaskList', data_root=_base_.data_root)
optim_wrapper = dict(
    optimizer=dict(lr=1e-3, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=10.0))))
dmt = dict(
    scheme='single',
    models=dict(a=dict(weights_help=_base_.weights_help)),
    labeled=dict(_delete_=True, ann_file='splits/pascal/1464/labeled.txt', pipeline=train_pipeline, **pool),
    unlabeled=dict(
        _delete_=True,
        ann_file='splits/pascal/1464/unlabeled.txt',
        pipeline=[*geometry, _base_.weak_two_strong],
        **pool),
    # One phase, from ImageNet weights.
    semi=dict(epochs=80, labeled_per_batch=8, unlabeled_per_batch=8))

_base_ = [
    '../_base_/models/dinov2-b.py',
    '../_base_/datasets/voc12.py',
    '../_base_/schedules/adamw_poly.py',
    '../_base_/default_runtime_seg.py',
    '../_base_/methods/views_seg.py',
]
runner_type = 'DMTRunner'
# UniMatch V2 on the "original" split: labeled images out of VOC's own 1,464 training images, as lists in
# data_root/splits/pascal name them. The published decoder is DPT; crop, rates and teacher are those of the paper.
model = dict(
    _delete_=True, type='UniMatch', feature_dropout='complementary', teacher='average', teacher_momentum=0.996,
    model=_base_.model)
crop_size = _base_.data_preprocessor.size
changes = dict(RandomResize=dict(ratio_range=(0.5, 2.0)), RandomCrop=dict(crop_size=crop_size))
train_pipeline = [dict(transform, **changes.get(transform.type, {})) for transform in _base_.train_pipeline]
geometry = [transform for transform in train_pipeline if transform['type'] not in _base_.of_labels]
pool = dict(_delete_=True, type='VOCImageMaskList', data_root=_base_.data_root)
optim_wrapper = dict(
    optimizer=dict(lr=5e-6), paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=40.0))))
dmt = dict(
    scheme='single',
    models=dict(a=dict(weights_help=_base_.weights_help)),
    labeled=dict(ann_file='splits/pascal/1464/labeled.txt', pipeline=train_pipeline, **pool),
    unlabeled=dict(
        ann_file='splits/pascal/1464/unlabeled.txt', pipeline=[*geometry, _base_.weak_two_strong], **pool),
    # One phase, from the weights of DINOv2. The paper trains in four processes with 4 + 4 images each.
    semi=dict(epochs=60, labeled_per_batch=4, unlabeled_per_batch=4))

_base_ = [
    '../_base_/models/dinov2-b.py',
    '../_base_/datasets/voc12.py',
    '../_base_/schedules/adamw_poly.py',
    '../_base_/default_runtime_seg.py',
    '../_base_/methods/dmt_seg.py',
]
runner_type = 'DMTRunner'
# The "original" split, see deeplabv3plus_r101_voc_original_1464.py. Crop and rates are those of UniMatch V2, with half
# the rate of the baseline for pseudo labels, as in the paper of DMT; they are not tuned.
model = dict(
    type='DMTEncoderDecoder', decode_head=dict(loss_decode=dict(_delete_=True, **_base_.dynamic_loss)))
crop_size = _base_.data_preprocessor.size
changes = dict(RandomResize=dict(ratio_range=(0.5, 2.0)), RandomCrop=dict(crop_size=crop_size))
train_pipeline = [dict(transform, **changes.get(transform.type, {})) for transform in _base_.train_pipeline]
pool = dict(_delete_=True, type='VOCImageMaskList', data_root=_base_.data_root, pipeline=train_pipeline)
optim_wrapper = dict(
    optimizer=dict(lr=2.5e-6), paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=40.0))))
dmt = dict(
    # With given lists, both models see all labeled images: they differ by their heads and batches.
    labeled=dict(ann_file='splits/pascal/1464/labeled.txt', **pool),
    unlabeled=dict(ann_file='splits/pascal/1464/unlabeled.txt', **pool),
    models=dict(
        a=dict(weights_help=_base_.weights_help),
        b=dict(weights_help=_base_.weights_help)),
    supervised=dict(epochs=81, optim_wrapper=dict(optimizer=dict(lr=5e-6))),
    semi=dict(epochs=5, labeled_per_batch=1, unlabeled_per_batch=7))

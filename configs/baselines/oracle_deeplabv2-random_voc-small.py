_base_ = [
    '../_base_/models/deeplabv2_r101-d8.py',
    '../_base_/datasets/voc_small.py',
    '../_base_/schedules/sgd_poly.py',
    '../_base_/default_runtime_seg.py',
]
# Oracle: all 886 training images are labeled (437 of `train`, 449 of `aug`). Images of 160 pixels are enlarged.
changes = dict(RandomResize=dict(scale=(400, 400)), RandomCrop=dict(crop_size=(321, 321)))
train_pipeline = [dict(transform, **changes.get(transform.type, {})) for transform in _base_.train_pipeline]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(400, 400), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    dataset=dict(
        datasets=[dict(_base_.train, pipeline=train_pipeline), dict(_base_.aug, pipeline=train_pipeline)]))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
class_weight = [0.3] + [1.0] * 20
model = dict(decode_head=dict(loss_decode=dict(class_weight=class_weight, avg_non_ignore=False)))
optim_wrapper = dict(optimizer=dict(lr=1e-2))
train_cfg = dict(max_iters=4063, val_interval=4063)  # as many steps as all phases of a model
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=4063, by_epoch=False)]

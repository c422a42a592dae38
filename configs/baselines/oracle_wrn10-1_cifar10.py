_base_ = [
    '../_base_/models/wrn28-2.py',
    '../_base_/datasets/cifar10.py',  # all training images are labeled
    '../_base_/schedules/sgd_cosine.py',
    '../_base_/default_runtime_cls.py',
    '../_base_/methods/dmt_cls.py',  # mixup
]
# The Oracle of wrn10-1_cifar10_400.
model = dict(
    _base_.dynamic,
    backbone=dict(depth=10, width=1),
    head=dict(_base_.dynamic.head, in_channels=64),
    mixup=dict(alpha=0.75, dominant=False))
train_dataloader = dict(
    batch_size=64, num_workers=0, persistent_workers=False, dataset=dict(pipeline=_base_.mild_pipeline))
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = dict(num_workers=0, persistent_workers=False)
custom_hooks = [dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.005, update_buffers=True)]
optim_wrapper = dict(optimizer=dict(lr=0.05))
train_cfg = dict(max_iters=6000, val_interval=6000)
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=6000, by_epoch=False)]

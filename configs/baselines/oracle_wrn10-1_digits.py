_base_ = [
    '../_base_/models/wrn10-1_digits.py',
    '../_base_/datasets/digits_cls.py',  # all 1,078 training images are labeled
    '../_base_/schedules/sgd_cosine.py',
    '../_base_/default_runtime_cls.py',
    '../_base_/methods/dmt_cls.py',  # mixup
]
model = dict(_base_.dynamic, mixup=dict(alpha=0.75, dominant=False))
custom_hooks = [dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.02, update_buffers=True)]
train_cfg = dict(max_iters=600, val_interval=600)
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=600, by_epoch=False)]

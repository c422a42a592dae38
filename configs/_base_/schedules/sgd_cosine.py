# SGD with a cosine schedule to 0. A DMT run sets the length of each phase (and of the schedule) itself; the
# numbers here apply to an ordinary run of the same config.
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=29180, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=29180, val_interval=29180)
# The averaged weights (decay 0.999) are tested, label images and are handed over.
custom_hooks = [dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.001, update_buffers=True)]

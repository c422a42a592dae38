# AdamW with a polynomial schedule, for a pre-trained backbone: its head learns ten times as fast. A DMT run sets the
# length of each phase (and `end`) by itself; the numbers here are those of an ordinary run of the same config.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=10.0))))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=1200, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=1200, val_interval=1200)

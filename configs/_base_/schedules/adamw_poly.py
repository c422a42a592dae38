# AdamW with a polynomial schedule, for a pre-trained backbone: the head has ten times its learning rate. A DMT run sets
# the length of each phase (and `end`) itself; the numbers here apply to an ordinary run of the same config.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=10.0))))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=1200, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=1200, val_interval=1200)

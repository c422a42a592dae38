_base_ = [
    '../_base_/models/fcn_r18-d8_small.py',
    '../_base_/datasets/digits.py',
    '../_base_/schedules/sgd_poly.py',
    '../_base_/default_runtime_seg.py',
]
# Oracle: all 640 scenes are labeled.
train_dataloader = dict(dataset=dict(subset='train'))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=5e-3, weight_decay=0.1))
train_cfg = dict(max_iters=1200, val_interval=1200)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=1200, by_epoch=False)]

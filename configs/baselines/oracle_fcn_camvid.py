_base_ = [
    '../_base_/models/fcn_r18-d8_small.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/sgd_poly.py',
    '../_base_/default_runtime_seg.py',
]
# Oracle: all 367 training images are labeled.
data_preprocessor = dict(size=(160, 160), size_divisor=None)
model = dict(data_preprocessor=data_preprocessor)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=5e-3, weight_decay=0.1))
train_cfg = dict(max_iters=2000, val_interval=2000)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=2000, by_epoch=False)]

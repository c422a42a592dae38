_base_ = [
    '../_base_/models/deeplabv2_r101-d8.py',
    '../_base_/datasets/voc_small_321.py',
    '../_base_/schedules/sgd_poly.py',
    '../_base_/default_runtime_seg.py',
]
# Oracle: all 886 training images are labeled (437 of `train`, 449 of `aug`).
class_weight = [0.3] + [1.0] * 20
model = dict(decode_head=dict(loss_decode=dict(class_weight=class_weight, avg_non_ignore=False)))
optim_wrapper = dict(optimizer=dict(lr=1e-2))
train_cfg = dict(max_iters=4063, val_interval=4063)  # as many steps as all phases of a model
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=4063, by_epoch=False)]

_base_ = [
    '../_base_/models/deeplabv2_r101-d8.py',
    '../_base_/datasets/voc12.py',
    '../_base_/schedules/sgd_poly.py',
    '../_base_/default_runtime_seg.py',
]
# Oracle: all 10,582 images are labeled, 30 epochs.
load_from = 'pretrained/deeplabv2_r101_coco_voc.pth'
model = _base_.coco_weights.model
optim_wrapper = dict(optimizer=dict(lr=2e-3))
train_cfg = dict(max_iters=39683, val_interval=39683)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=39683, by_epoch=False)]

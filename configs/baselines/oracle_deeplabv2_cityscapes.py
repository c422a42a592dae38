_base_ = [
    '../_base_/models/deeplabv2_r101-d8.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/schedules/sgd_poly.py',
    '../_base_/default_runtime_seg.py',
]
# Oracle: all 2,975 images are labeled, 60 epochs.
load_from = 'pretrained/deeplabv2_r101_coco_cityscapes.pth'
model = dict(
    data_preprocessor=dict(size=(256, 512), **_base_.coco_weights.model.data_preprocessor),
    backbone=_base_.coco_weights.model.backbone,
    decode_head=dict(num_classes=19))
optim_wrapper = dict(optimizer=dict(lr=4e-3))
train_cfg = dict(max_iters=22313, val_interval=22313)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=22313, by_epoch=False)]

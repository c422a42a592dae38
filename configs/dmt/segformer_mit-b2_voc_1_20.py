_base_ = [
    '../_base_/models/segformer_mit-b0.py',
    '../_base_/datasets/voc12.py',
    '../_base_/schedules/sgd_poly.py',  # the optimizer is replaced, the schedule gets a warm-up
    '../_base_/default_runtime_seg.py',
    '../_base_/methods/dmt_seg.py',
]
runner_type = 'DMTRunner'
# MiT-B2 instead of B0.
checkpoint = 'https://mmassets.onedl.ai/mmsegmentation/v0.5/pretrain/segformer/mit_b2_20220624-66e8bf70.pth'
model = dict(
    type='DMTEncoderDecoder',
    backbone=dict(embed_dims=64, num_layers=[3, 4, 6, 3], init_cfg=dict(checkpoint=checkpoint)),
    decode_head=dict(in_channels=[64, 128, 320, 512], loss_decode=dict(_delete_=True, **_base_.dynamic_loss)))
# The optimizer of SegFormer. With pseudo labels, half the learning rate of the baseline, as in the paper.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=3e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys=dict(pos_block=dict(decay_mult=0.0), norm=dict(decay_mult=0.0), head=dict(lr_mult=10.0))))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=500, by_epoch=False),
    dict(type='PolyLR', power=1.0, eta_min=0.0, begin=500, end=20000, by_epoch=False),
]
dmt = dict(
    # 530 labeled images; each model sees its own 80 %, since both start from the same weights.
    split=dict(ratio=20, difference_maximised=0.8),
    models=dict(a=dict(), b=dict()),
    supervised=dict(epochs=134, optim_wrapper=dict(optimizer=dict(lr=6e-5))),
    semi=dict(epochs=4, labeled_per_batch=1, unlabeled_per_batch=7))

_base_ = [
    '../_base_/models/upernet_swin-t.py',
    '../_base_/datasets/voc12.py',
    '../_base_/schedules/sgd_poly.py',  # the optimizer is replaced, the schedule gets a warm-up
    '../_base_/default_runtime_seg.py',
    '../_base_/methods/dmt_seg.py',
]
runner_type = 'DMTRunner'
loss = _base_.dynamic_loss
model = dict(
    type='DMTEncoderDecoder',
    decode_head=dict(loss_decode=dict(loss, _delete_=True)),
    auxiliary_head=dict(loss_decode=dict(loss, _delete_=True, loss_weight=0.4)))
# The optimizer of Swin. With pseudo labels, half the learning rate of the baseline, as in the paper.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=3e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys=dict(
            absolute_pos_embed=dict(decay_mult=0.0),
            relative_position_bias_table=dict(decay_mult=0.0),
            norm=dict(decay_mult=0.0))))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=500, by_epoch=False),
    dict(type='PolyLR', power=1.0, eta_min=0.0, begin=500, end=20000, by_epoch=False),
]
dmt = dict(
    # 1,322 labeled images; each model sees its own 80 %, since both start from the same weights.
    split=dict(ratio=8, difference_maximised=0.8),
    models=dict(a=dict(), b=dict()),
    supervised=dict(epochs=85, optim_wrapper=dict(optimizer=dict(lr=6e-5))),
    semi=dict(epochs=5, labeled_per_batch=1, unlabeled_per_batch=7))

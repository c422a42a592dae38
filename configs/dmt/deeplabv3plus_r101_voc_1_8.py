_base_ = [
    '../_base_/models/deeplabv3plus_r101-d8.py',
    '../_base_/datasets/voc12.py',
    '../_base_/schedules/sgd_poly.py',
    '../_base_/default_runtime_seg.py',
    '../_base_/methods/dmt_seg.py',
]
runner_type = 'DMTRunner'
loss = _base_.dynamic_loss
model = dict(
    type='DMTEncoderDecoder',
    decode_head=dict(loss_decode=dict(loss, _delete_=True)),
    auxiliary_head=dict(loss_decode=dict(loss, _delete_=True, loss_weight=0.4)))
# mmsegmentation uses lr 0.01 for 16 images per step. This gives 0.005 for 8, and half of that with pseudo labels.
optim_wrapper = dict(optimizer=dict(lr=2.5e-3))
dmt = dict(
    # 1,322 labeled images; each model sees its own 80 %, since both start from the same weights.
    split=dict(ratio=8, difference_maximised=0.8),
    models=dict(
        a=dict(weights_help=_base_.weights_help),
        b=dict(weights_help=_base_.weights_help)),
    supervised=dict(epochs=85, optim_wrapper=dict(optimizer=dict(lr=5e-3))),
    semi=dict(epochs=5, labeled_per_batch=1, unlabeled_per_batch=7))

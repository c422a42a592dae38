_base_ = [
    '../_base_/models/fcn_r18-d8_small.py',  # quarter-width ResNet-18, 11 classes
    '../_base_/datasets/camvid.py',  # 367 training images in data/camvid
    '../_base_/schedules/sgd_poly.py',
    '../_base_/default_runtime_seg.py',
    '../_base_/methods/dmt_seg.py',
]
runner_type = 'DMTRunner'
data_preprocessor = dict(size=(160, 160), size_divisor=None)
loss = dict(_base_.dynamic_loss, gamma1=2.0, gamma2=2.0)
model = dict(
    type='DMTEncoderDecoder', data_preprocessor=data_preprocessor, decode_head=dict(loss_decode=dict(loss, _delete_=True)))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, weight_decay=0.1))
dmt = dict(
    split=dict(ratio=8),  # 45 labeled, 322 unlabeled images
    models=dict(a=dict(), b=dict()),
    supervised=dict(iters=800, optim_wrapper=dict(optimizer=dict(lr=5e-3))),
    semi=dict(epochs=4, labeled_per_batch=2, unlabeled_per_batch=6))

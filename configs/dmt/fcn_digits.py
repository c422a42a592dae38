_base_ = [
    '../_base_/models/fcn_r18-d8_small.py',  # quarter-width ResNet-18, 11 classes
    '../_base_/datasets/digits.py',  # 40 labeled, 600 unlabeled, 200 validation scenes
    '../_base_/schedules/sgd_poly.py',
    '../_base_/default_runtime_seg.py',
    '../_base_/methods/dmt_seg.py',
]
runner_type = 'DMTRunner'
stock = _base_.model  # which the methods of one phase wrap
loss = dict(_base_.dynamic_loss, gamma1=2.0, gamma2=2.0)
model = dict(type='DMTEncoderDecoder', decode_head=dict(loss_decode=dict(loss, _delete_=True)))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=2e-3, weight_decay=0.1))
dmt = dict(
    # The two models differ only by their seeds: different initial weights, different batches.
    models=dict(a=dict(), b=dict()),
    supervised=dict(iters=400, optim_wrapper=dict(optimizer=dict(lr=5e-3))),
    semi=dict(epochs=4, labeled_per_batch=2, unlabeled_per_batch=14),
    keep_labels=True)

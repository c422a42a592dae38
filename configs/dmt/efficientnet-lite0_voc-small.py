_base_ = [
    '../_base_/models/efficientnet-lite0.py',  # ImageNet weights
    '../_base_/datasets/voc_small.py',  # 110 labeled, 776 unlabeled images in data/voc_small
    '../_base_/schedules/adamw_poly.py',
    '../_base_/default_runtime_seg.py',
    '../_base_/methods/dmt_seg.py',
]
runner_type = 'DMTRunner'
data_preprocessor = dict(size=_base_.crop_size, size_divisor=None)
# Background is two thirds of all pixels.
class_weight = [0.3] + [1.0] * 20
loss = dict(_base_.dynamic_loss, gamma1=2.0, gamma2=2.0, class_weight=class_weight)
stock = dict(  # which the methods of one phase wrap
    _base_.model,
    data_preprocessor=dict(_base_.data_preprocessor, **data_preprocessor),
    decode_head=dict(
        _base_.model.decode_head,
        num_classes=21,
        loss_decode=dict(type='CrossEntropyLoss', class_weight=class_weight)))
model = dict(
    type='DMTEncoderDecoder',
    data_preprocessor=data_preprocessor,
    decode_head=dict(num_classes=21, loss_decode=dict(loss, _delete_=True)))
dmt = dict(
    models=dict(a=_base_.lite0, b=_base_.lite1),
    supervised=dict(iters=400, optim_wrapper=dict(optimizer=dict(lr=3e-4))),
    semi=dict(epochs=1, labeled_per_batch=2, unlabeled_per_batch=6))

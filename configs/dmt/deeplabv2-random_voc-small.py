_base_ = [
    '../_base_/models/deeplabv2_r101-d8.py',
    '../_base_/datasets/voc_small_321.py',  # 110 labeled, 776 unlabeled images in data/voc_small
    '../_base_/schedules/sgd_poly.py',
    '../_base_/default_runtime_seg.py',
    '../_base_/methods/dmt_seg.py',
]
# Network, crops and batches of the publication on a small data set, with random weights: it fits a GPU of 11 GB.
runner_type = 'DMTRunner'
class_weight = [0.3] + [1.0] * 20  # background is two thirds of all pixels
loss = dict(_base_.dynamic_loss, gamma1=2.0, gamma2=2.0, class_weight=class_weight)
model = dict(type='DMTEncoderDecoder', decode_head=dict(loss_decode=dict(loss, _delete_=True)))
dmt = dict(
    models=dict(a=dict(), b=dict()),
    supervised=dict(epochs=134, optim_wrapper=dict(optimizer=dict(lr=1e-2))),
    semi=dict(epochs=4, labeled_per_batch=1, unlabeled_per_batch=7, optim_wrapper=dict(optimizer=dict(lr=5e-3))))

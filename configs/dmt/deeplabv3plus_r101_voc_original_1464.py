_base_ = [
    '../_base_/models/deeplabv3plus_r101-d8.py',
    '../_base_/datasets/voc12.py',
    '../_base_/schedules/sgd_poly.py',
    '../_base_/default_runtime_seg.py',
    '../_base_/methods/dmt_seg.py',
]
runner_type = 'DMTRunner'
# The "original" split: labeled images out of VOC's own 1,464 training images, as lists in data_root/splits/pascal name
# them. Model and rates are those of deeplabv3plus_r101_voc_1_8.py.
loss = _base_.dynamic_loss
model = dict(
    type='DMTEncoderDecoder',
    decode_head=dict(loss_decode=dict(loss, _delete_=True)),
    auxiliary_head=dict(loss_decode=dict(loss, _delete_=True, loss_weight=0.4)))
optim_wrapper = dict(optimizer=dict(lr=2.5e-3))
pool = dict(_delete_=True, type='VOCImageMaskList', data_root=_base_.data_root, pipeline=_base_.train_pipeline)
dmt = dict(
    # With given lists, both models see all labeled images: they differ by their heads and batches.
    labeled=dict(ann_file='splits/pascal/1464/labeled.txt', **pool),
    unlabeled=dict(ann_file='splits/pascal/1464/unlabeled.txt', **pool),
    models=dict(
        a=dict(weights_help=_base_.weights_help),
        b=dict(weights_help=_base_.weights_help)),
    supervised=dict(epochs=81, optim_wrapper=dict(optimizer=dict(lr=5e-3))),
    semi=dict(epochs=5, labeled_per_batch=1, unlabeled_per_batch=7))

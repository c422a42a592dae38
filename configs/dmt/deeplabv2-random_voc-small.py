_base_ = [
    '../_base_/models/deeplabv2_r101-d8.py',
    '../_base_/datasets/voc_small.py',  # 110 labeled, 776 unlabeled images in data/voc_small
    '../_base_/schedules/sgd_poly.py',
    '../_base_/default_runtime_seg.py',
    '../_base_/methods/dmt_seg.py',
]
# Network, crops and batches of the publication on a small data set, with random weights: it fits a GPU of 11 GB.
runner_type = 'DMTRunner'
crop_size = (321, 321)
# Images of 160 pixels are enlarged.
changes = dict(RandomResize=dict(scale=(400, 400)), RandomCrop=dict(crop_size=crop_size))
train_pipeline = [dict(transform, **changes.get(transform.type, {})) for transform in _base_.train_pipeline]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(400, 400), keep_ratio=True),
    dict(type='LoadAnnotations'),  # after it: predictions are compared at the size of the masks
    dict(type='PackSegInputs'),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
class_weight = [0.3] + [1.0] * 20  # background is two thirds of all pixels
loss = dict(_base_.dynamic_loss, gamma1=2.0, gamma2=2.0, class_weight=class_weight)
model = dict(type='DMTEncoderDecoder', decode_head=dict(loss_decode=dict(loss, _delete_=True)))
dmt = dict(
    labeled=dict(pipeline=train_pipeline),
    unlabeled=dict(
        datasets=[dict(part, pipeline=train_pipeline) for part in _base_.dmt.unlabeled.datasets]),
    models=dict(a=dict(), b=dict()),
    supervised=dict(epochs=134, optim_wrapper=dict(optimizer=dict(lr=1e-2))),
    semi=dict(epochs=4, labeled_per_batch=1, unlabeled_per_batch=7, optim_wrapper=dict(optimizer=dict(lr=5e-3))))

_base_ = [
    '../_base_/models/deeplabv2_r101-d8.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/schedules/sgd_poly.py',
    '../_base_/default_runtime_seg.py',
    '../_base_/methods/dmt_seg.py',
]
runner_type = 'DMTRunner'
data_preprocessor = dict(size=(256, 512))
loss = dict(_base_.dynamic_loss, gamma1=3.0, gamma2=3.0)
model = dict(
    type='DMTEncoderDecoder',
    data_preprocessor=data_preprocessor,
    decode_head=dict(num_classes=19, loss_decode=dict(loss, _delete_=True)))
optim_wrapper = dict(optimizer=dict(lr=4e-3))
dmt = dict(
    split=dict(ratio=8),  # 371 labeled images
    models=dict(
        a=dict(load_from='pretrained/deeplabv2_r101_coco_cityscapes.pth', **_base_.coco_weights),
        b=_base_.imagenet_weights),
    supervised=dict(epochs=170),
    semi=dict(epochs=10, labeled_per_batch=2, unlabeled_per_batch=6))

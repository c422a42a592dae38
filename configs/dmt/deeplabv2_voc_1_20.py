_base_ = [
    '../_base_/models/deeplabv2_r101-d8.py',
    '../_base_/datasets/voc12.py',
    '../_base_/schedules/sgd_poly.py',  # lr 1e-3
    '../_base_/default_runtime_seg.py',
    '../_base_/methods/dmt_seg.py',
]
runner_type = 'DMTRunner'
stock = _base_.model  # which the methods of one phase wrap
model = dict(type='DMTEncoderDecoder', decode_head=dict(loss_decode=dict(_delete_=True, **_base_.dynamic_loss)))
dmt = dict(
    split=dict(ratio=20),  # 530 labeled images
    models=dict(
        a=dict(load_from='pretrained/deeplabv2_r101_coco_voc.pth', **_base_.coco_weights),
        b=_base_.imagenet_weights),
    supervised=dict(epochs=134, optim_wrapper=dict(optimizer=dict(lr=2e-3))),
    semi=dict(epochs=4, labeled_per_batch=1, unlabeled_per_batch=7))

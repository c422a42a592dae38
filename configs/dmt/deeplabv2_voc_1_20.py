_base_ = [
    '../_base_/models/deeplabv2_r101-d8.py',
    '../_base_/datasets/voc12.py',
    '../_base_/schedules/sgd_poly.py',  # lr 1e-3
    '../_base_/default_runtime_seg.py',
]
runner_type = 'DMTRunner'
dmt = dict(
    split=dict(ratio=20),  # 530 labeled images
    models=dict(
        a=dict(load_from='pretrained/deeplabv2_r101_coco_voc.pth', **_base_.coco_weights),
        b=_base_.imagenet_weights),
    supervised=dict(epochs=134, optim_wrapper=dict(optimizer=dict(lr=2e-3))),
    semi=dict(epochs=4, labeled_per_batch=1, unlabeled_per_batch=7))

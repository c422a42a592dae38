# CIFAR-10 as standard Python pickles, in data_root/cifar-10-batches-py. 200 training images are kept for validation.
dataset_type = 'DMTCIFAR10'
data_root = 'data/cifar10'
# As the published code augments: wide ranges of one operation per image, crops filled with gray.
train_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4, pad_val=(128, 128, 128)),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='SmallImageRandAugment', ranges='published'),
    dict(type='PackInputs'),
]
# The milder ranges of mmpretrain, for configs that are not the paper's.
mild_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='SmallImageRandAugment', ranges='mild'),
    dict(type='PackInputs'),
]
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
    unlabeled=dict(type=dataset_type, data_root=data_root, subset='train', pipeline=train_pipeline))

# Your own images: data_root/labeled/CLASS/* and data_root/val/CLASS/*, one folder per class, and data_root/unlabeled/*.
data_root = 'data/images'
extensions = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandAugment', policies='timm_increasing', num_policies=1, magnitude_level=10, magnitude_std='inf',
        hparams=dict(pad_val=(128, 128, 128))),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=256, edge='short'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
folder = dict(type='CustomDataset', data_root=data_root, extensions=extensions)
labeled = dict(folder, data_prefix='labeled', pipeline=train_pipeline)
train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=labeled)
val_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(folder, data_prefix='val', pipeline=test_pipeline, test_mode=True))
test_dataloader = val_dataloader
dmt = dict(
    labeled=labeled,
    unlabeled=dict(folder, data_prefix='unlabeled', with_label=False, pipeline=train_pipeline))

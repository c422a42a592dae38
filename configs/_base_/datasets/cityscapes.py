# Cityscapes at half of its size, as the paper uses it: trained, labeled and evaluated at 512 x 1024.
data_root = 'data/cityscapes'
crop_size = (256, 512)
augmentation = [
    dict(type='RandomResize', scale=(1024, 512), ratio_range=(0.5, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
# Human labels have the size of the files, pseudo labels the size at which images are labeled.
train_pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), *augmentation]
pseudo_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1024, 512), keep_ratio=True),
    dict(type='LoadAnnotations'),
    *augmentation,
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1024, 512), keep_ratio=True),
    dict(type='SetOriginalShape'),
    dict(type='LoadAnnotations'),
    dict(type='ResizeLabels'),  # without this line and SetOriginalShape: evaluation at full size
    dict(type='PackSegInputs'),
]
pool = dict(
    type='CityscapesDataset',
    data_root=data_root,
    data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
    pipeline=train_pipeline)
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=pool)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CityscapesDataset',
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        pipeline=test_pipeline,
        test_mode=True))
test_dataloader = val_dataloader
dmt = dict(labeled=pool, unlabeled=dict(pool, pipeline=pseudo_pipeline))

# Your own images and masks: data_root/{images,masks}/NAME. The lists data_root/splits/*.txt name the images, with or
# without suffix; suffixes may be mixed.
# Masks hold class indices; 255 is ignored. The config that builds on this one defines the classes.
data_root = 'data/own'
data_prefix = dict(img_path='images', seg_map_path='masks')
# Images of any size: the longer side becomes 512 pixels; predictions are resized back to the image.
resize = dict(scale=(512, 512), keep_ratio=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', ratio_range=(0.5, 1.5), **resize),
    dict(type='RandomCrop', crop_size=(321, 321)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', **resize),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
labeled = dict(
    type='ImageMaskDataset',
    data_root=data_root,
    ann_file='splits/labeled.txt',
    data_prefix=data_prefix,
    pipeline=train_pipeline)
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=labeled)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ImageMaskDataset',
        data_root=data_root,
        ann_file='splits/val.txt',
        data_prefix=data_prefix,
        pipeline=test_pipeline,
        test_mode=True))
test_dataloader = val_dataloader
dmt = dict(
    labeled=labeled,
    unlabeled=dict(labeled, ann_file='splits/unlabeled.txt'))

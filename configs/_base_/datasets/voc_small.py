# A part of PASCAL VOC 2012 and SBD at 160 pixels, in the folder layout images/SPLIT, annotations/SPLIT, SPLIT.txt.
data_root = 'data/voc_small'
crop_size = (128, 128)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(160, 160), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
# Every fourth image of `train` is labeled; the others and every sixth of `aug` (masks of SBD) are not.
train = dict(
    type='PascalVOCDataset',
    data_root=data_root,
    ann_file='train.txt',
    data_prefix=dict(img_path='images/train', seg_map_path='annotations/train'),
    pipeline=train_pipeline)
aug = dict(
    type='PascalVOCDataset',
    data_root=data_root,
    ann_file='aug.txt',
    data_prefix=dict(img_path='images/aug', seg_map_path='annotations/aug'),
    indices=list(range(0, 2694, 6)),
    pipeline=train_pipeline)
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='ConcatDataset', datasets=[train, aug]))
test_dataloader = dict(
    batch_size=1,  # images differ in size
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='PascalVOCDataset',
        data_root=data_root,
        ann_file='val.txt',
        data_prefix=dict(img_path='images/val', seg_map_path='annotations/val'),
        pipeline=test_pipeline,
        test_mode=True))
# During training, the first 150 of the 445 images are enough.
val_dataloader = dict(test_dataloader, dataset=dict(test_dataloader['dataset'], indices=150))
dmt = dict(
    labeled=dict(train, indices=list(range(0, 437, 4))),
    unlabeled=dict(
        type='ConcatDataset',
        datasets=[dict(train, indices=[number for number in range(437) if number % 4]), aug]))

# The embedded demo data: scenes of scikit-learn's handwritten digits, rendered in memory.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    # No flip: a mirrored digit is not a digit.
    dict(type='RandomResize', scale=(64, 64), ratio_range=(1.0, 1.3), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(64, 64)),
    dict(type='PackSegInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
labeled = dict(type='DigitScenesDataset', subset='labeled', pipeline=train_pipeline)
train_dataloader = dict(
    batch_size=16, num_workers=0, sampler=dict(type='InfiniteSampler', shuffle=True), dataset=labeled)
val_dataloader = dict(
    batch_size=20,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='DigitScenesDataset', subset='val', pipeline=test_pipeline, test_mode=True))
test_dataloader = val_dataloader
dmt = dict(
    labeled=labeled,
    # Their masks serve statistics only: no model sees them.
    unlabeled=dict(
        type='DigitScenesDataset', subset='unlabeled', data_prefix=dict(seg_map_path='digits://train/masks'),
        pipeline=train_pipeline))

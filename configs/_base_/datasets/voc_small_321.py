_base_ = ['voc_small.py']
# The images, enlarged so that crops have the size of the publication.
crop_size = (321, 321)
_changes = dict(
    RandomResize=dict(type='RandomResize', scale=(400, 400), ratio_range=(0.75, 1.5), keep_ratio=True),
    RandomCrop=dict(type='RandomCrop', crop_size=crop_size))
train_pipeline = [_changes.get(transform.type, transform) for transform in _base_.train_pipeline]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(400, 400), keep_ratio=True),
    dict(type='LoadAnnotations'),  # after it: predictions are compared at the size of the masks
    dict(type='PackSegInputs'),
]
train = dict(_base_.train, pipeline=train_pipeline)
aug = dict(_base_.aug, pipeline=train_pipeline)
train_dataloader = dict(dataset=dict(datasets=[train, aug]))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
dmt = dict(
    labeled=dict(pipeline=train_pipeline),
    unlabeled=dict(
        datasets=[dict(part, pipeline=train_pipeline) for part in _base_.dmt.unlabeled.datasets]))

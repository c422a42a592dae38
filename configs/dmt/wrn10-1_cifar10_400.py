_base_ = [
    '../_base_/models/wrn28-2.py',
    '../_base_/datasets/cifar10.py',  # a part of CIFAR-10 is enough
    '../_base_/schedules/sgd_cosine.py',
    '../_base_/default_runtime_cls.py',
    '../_base_/methods/dmt_cls.py',
]
runner_type = 'DMTRunner'
# For CPUs: a small network, 400 labels, short phases. Each phase continues the model of the last one (`self`). A new
# model in each phase (`chain`, as in the paper) needs as many steps as the first phase.
model = dict(
    _base_.dynamic, backbone=dict(depth=10, width=1), head=dict(_base_.dynamic.head, in_channels=64))
train_dataloader = dict(batch_size=64, num_workers=0, dataset=dict(pipeline=_base_.mild_pipeline))
val_dataloader = dict(num_workers=0)
test_dataloader = dict(num_workers=0)
custom_hooks = [dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.005, update_buffers=True)]
optim_wrapper = dict(optimizer=dict(lr=0.05))
dmt = dict(
    labeled=dict(pipeline=_base_.mild_pipeline),
    unlabeled=dict(pipeline=_base_.mild_pipeline),
    split=dict(num_labeled=400),
    ranking='class',  # with so few labels, ranking all images together loses whole classes
    scheme='self',
    models=dict(a=dict()),
    supervised=dict(iters=6000, model=dict(mixup=dict(dominant=False))),
    semi=dict(iters=1000, labeled_per_batch=32, unlabeled_per_batch=32))

_base_ = [
    '../_base_/models/wrn10-1_digits.py',
    '../_base_/datasets/digits_cls.py',  # 1,078 images to train on, 270 for validation, 449 to test
    '../_base_/schedules/sgd_cosine.py',
    '../_base_/default_runtime_cls.py',
    '../_base_/methods/dmt_cls.py',
]
runner_type = 'DMTRunner'
stock = _base_.model  # which the methods of one phase wrap
model = _base_.dynamic
custom_hooks = [dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.02, update_buffers=True)]
dmt = dict(
    split=dict(num_labeled=50),
    ranking='class',  # with so few labels, ranking all images together loses whole classes
    scheme='chain',
    models=dict(a=dict()),
    supervised=dict(iters=200, model=dict(mixup=dict(dominant=False))),
    semi=dict(iters=300, labeled_per_batch=16, unlabeled_per_batch=48))

_base_ = ['../dmt/wrn10-1_digits.py', '../_base_/methods/views_cls.py']
# Dual Student: each student learns from the other one where that one is stable.
model = dict(_delete_=True, type='DualStudent', model=_base_.stock)
weak = _base_.train_pipeline[:1]  # crop
dmt = dict(
    scheme='single',
    models=dict(_delete_=True, a=dict()),
    labeled=dict(pipeline=[dict(_base_.views, labeled=weak, labeled_again=weak)]),
    unlabeled=dict(pipeline=[dict(_base_.views, first=weak, second=weak)]),
    supervised=dict(_delete_=True),  # one phase, from random weights
    semi=dict(_delete_=True, iters=1500, labeled_per_batch=16, unlabeled_per_batch=48))

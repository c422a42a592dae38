_base_ = ['../dmt/wrn28-2_cifar10_4000.py', '../_base_/methods/views_cls.py']
# Dual Student: each student learns from the other one where that one is stable.
model = dict(_delete_=True, type='DualStudent', model=_base_.stock)
weak = _base_.train_pipeline[:2]  # crop and flip
dmt = dict(
    scheme='single',
    models=dict(_delete_=True, a=dict()),
    labeled=dict(pipeline=[dict(_base_.views, labeled=weak, labeled_again=weak)]),
    unlabeled=dict(pipeline=[dict(_base_.views, first=weak, second=weak)]),
    supervised=dict(_delete_=True),  # one phase, from random weights
    semi=dict(epochs=750))

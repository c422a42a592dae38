_base_ = ['../dmt/wrn10-1_digits.py', '../_base_/methods/views_cls.py']
# Deep Co-Training: two networks agree, and resist each other's adversarial images.
model = dict(_delete_=True, type='DeepCoTraining', model=_base_.stock)
weak = _base_.train_pipeline[:1]  # crop
dmt = dict(
    scheme='single',
    models=dict(_delete_=True, a=dict()),
    labeled=dict(pipeline=[*weak, dict(type='PackDMTInputs')]),
    unlabeled=dict(pipeline=[dict(_base_.views, weak=weak)]),
    supervised=dict(_delete_=True),  # one phase, from random weights
    semi=dict(_delete_=True, iters=1500, labeled_per_batch=16, unlabeled_per_batch=48))

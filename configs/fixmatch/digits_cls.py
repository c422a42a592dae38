_base_ = ['../dmt/wrn10-1_digits.py', '../_base_/methods/views_cls.py']
# FixMatch, whose average (EMAHook of the schedule) is tested.
model = dict(_delete_=True, type='FixMatch', model=_base_.stock)
weak = _base_.train_pipeline[:1]  # crop
strong = [*weak, dict(_base_.train_pipeline[-2], num_policies=2)]  # two random operations
dmt = dict(
    scheme='single',
    models=dict(_delete_=True, a=dict()),
    labeled=dict(pipeline=[*weak, dict(type='PackDMTInputs')]),
    unlabeled=dict(pipeline=[dict(_base_.views, weak=weak, strong=strong)]),
    supervised=dict(_delete_=True),  # one phase, from random weights
    semi=dict(_delete_=True, iters=1500, labeled_per_batch=16, unlabeled_per_batch=48))

_base_ = ['../dmt/wrn28-2_cifar10_4000.py', '../_base_/methods/views_cls.py']
# FixMatch, whose average (EMAHook of the schedule) is tested.
model = dict(_delete_=True, type='FixMatch', model=_base_.stock)
weak = _base_.train_pipeline[:2]  # crop and flip
strong = [*weak, dict(_base_.train_pipeline[-2], num_policies=2)]  # two random operations
dmt = dict(
    scheme='single',
    models=dict(_delete_=True, a=dict()),
    labeled=dict(pipeline=[*weak, dict(type='PackDMTInputs')]),
    unlabeled=dict(pipeline=[dict(_base_.views, weak=weak, strong=strong)]),
    supervised=dict(_delete_=True),  # one phase, from random weights
    semi=dict(epochs=750))

_base_ = ['../dmt/wrn28-2_cifar10_4000.py', '../_base_/methods/views_cls.py']
# Mean Teacher: student and teacher see views of their own; soft-max outputs are compared.
model = dict(_delete_=True, type='MeanTeacher', model=_base_.stock)
custom_hooks = []  # the method has an average of its own
weak = _base_.train_pipeline[:2]  # crop and flip
dmt = dict(
    scheme='single',
    models=dict(_delete_=True, a=dict()),
    labeled=dict(pipeline=[*weak, dict(type='PackDMTInputs')]),
    unlabeled=dict(pipeline=[dict(_base_.views, teacher_view=weak, student_view=weak)]),
    supervised=dict(_delete_=True),  # one phase, from random weights
    semi=dict(epochs=750))

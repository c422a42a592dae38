_base_ = ['../dmt/wrn10-1_digits.py', '../_base_/methods/views_cls.py']
# Mean Teacher: student and teacher see views of their own; soft-max outputs are compared.
# In so few steps, the default average still holds the random weights.
model = dict(_delete_=True, type='MeanTeacher', model=_base_.stock, teacher_momentum=0.99)
custom_hooks = []  # the method has an average of its own
weak = _base_.train_pipeline[:1]  # crop
dmt = dict(
    scheme='single',
    models=dict(_delete_=True, a=dict()),
    labeled=dict(pipeline=[*weak, dict(type='PackDMTInputs')]),
    unlabeled=dict(pipeline=[dict(_base_.views, teacher_view=weak, student_view=weak)]),
    supervised=dict(_delete_=True),  # one phase, from random weights
    semi=dict(_delete_=True, iters=1500, labeled_per_batch=16, unlabeled_per_batch=48))

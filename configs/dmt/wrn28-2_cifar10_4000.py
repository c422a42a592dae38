_base_ = [
    '../_base_/models/wrn28-2.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/sgd_cosine.py',  # lr 0.1
    '../_base_/default_runtime_cls.py',
    '../_base_/methods/dmt_cls.py',
]
runner_type = 'DMTRunner'
stock = _base_.model  # which the methods of one phase wrap
model = _base_.dynamic
dmt = dict(
    split=dict(num_labeled=4000),
    scheme='chain',
    models=dict(a=dict()),
    supervised=dict(
        epochs=1058, optim_wrapper=dict(optimizer=dict(lr=0.2)), model=dict(mixup=dict(dominant=False))),
    semi=dict(epochs=750, labeled_per_batch=64, unlabeled_per_batch=448))

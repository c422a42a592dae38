_base_ = [
    '../_base_/models/wrn28-2.py',
    '../_base_/datasets/cifar10.py',  # all 49,800 training images are labeled
    '../_base_/schedules/sgd_cosine.py',  # 300 epochs
    '../_base_/default_runtime_cls.py',
    '../_base_/methods/dmt_cls.py',  # mixup
]
model = dict(_base_.dynamic, mixup=dict(alpha=0.75, dominant=False))
optim_wrapper = dict(optimizer=dict(lr=0.2))

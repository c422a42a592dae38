_base_ = [
    '../_base_/models/wrn28-2.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/sgd_cosine.py',
    '../_base_/default_runtime_cls.py',
]
# Baseline: 1000 labels, 2120 epochs (300 of the oracle times the square root of the share of labels).
train_dataloader = dict(dataset=dict(num_labeled=1000))
model = dict(mixup=dict(dominant=False))
optim_wrapper = dict(optimizer=dict(lr=0.2))
train_cfg = dict(max_iters=4141, val_interval=4141)
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=4141, by_epoch=False)]

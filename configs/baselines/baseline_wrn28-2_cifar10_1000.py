_base_ = ['./oracle_wrn28-2_cifar10.py']
# Baseline: 1000 labels, 2120 epochs (about 300 of the Oracle, divided by the square root of the share of labels).
train_dataloader = dict(dataset=dict(num_labeled=1000))
train_cfg = dict(max_iters=4141, val_interval=4141)
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=4141, by_epoch=False)]

_base_ = ['./oracle_wrn28-2_cifar10.py']
# Baseline: 4000 labels, 1058 epochs (300 of the Oracle, divided by the square root of the share of labels).
train_dataloader = dict(dataset=dict(num_labeled=4000))
train_cfg = dict(max_iters=8266, val_interval=8266)
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=8266, by_epoch=False)]

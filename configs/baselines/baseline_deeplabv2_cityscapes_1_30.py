_base_ = ['./oracle_deeplabv2_cityscapes.py']
# Baseline: 100 labeled images, 327 epochs.
train_dataloader = dict(dataset=dict(ann_file='splits/30_labeled_0.txt'))  # from tools/make_splits.py
train_cfg = dict(max_iters=4088, val_interval=4088)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=4088, by_epoch=False)]

_base_ = ['./oracle_deeplabv2_cityscapes.py']
# Baseline: 371 labeled images, 170 epochs.
train_dataloader = dict(dataset=dict(ann_file='splits/8_labeled_0.txt'))  # from tools/make_splits.py
train_cfg = dict(max_iters=7884, val_interval=7884)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=7884, by_epoch=False)]

_base_ = ['./oracle_deeplabv2_voc.py']
# Baseline: 1,322 labeled images, 85 epochs.
train_dataloader = dict(dataset=dict(ann_file='splits/8_labeled_0.txt'))  # from tools/make_splits.py
train_cfg = dict(max_iters=14047, val_interval=14047)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=14047, by_epoch=False)]

_base_ = ['./oracle_deeplabv2_voc.py']
# Baseline: 211 labeled images, 212 epochs.
train_dataloader = dict(dataset=dict(ann_file='splits/50_labeled_0.txt'))  # from tools/make_splits.py
train_cfg = dict(max_iters=5592, val_interval=5592)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=5592, by_epoch=False)]

_base_ = ['./oracle_deeplabv2_voc.py']
# Baseline: 100 labeled images, 309 epochs.
train_dataloader = dict(dataset=dict(ann_file='splits/106_labeled_0.txt'))  # from tools/make_splits.py
train_cfg = dict(max_iters=3863, val_interval=3863)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=3863, by_epoch=False)]

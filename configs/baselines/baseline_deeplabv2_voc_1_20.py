_base_ = ['./oracle_deeplabv2_voc.py']
# Baseline: 530 labeled images, 134 epochs.
train_dataloader = dict(dataset=dict(ann_file='splits/20_labeled_0.txt'))  # from tools/make_splits.py
train_cfg = dict(max_iters=8878, val_interval=8878)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=8878, by_epoch=False)]

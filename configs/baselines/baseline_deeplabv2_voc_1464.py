_base_ = ['./oracle_deeplabv2_voc.py']
# Baseline: 1,464 labeled images, 81 epochs.
train_dataloader = dict(dataset=dict(
    ann_file='ImageSets/Segmentation/train.txt', data_prefix=dict(seg_map_path='SegmentationClass')))
train_cfg = dict(max_iters=14823, val_interval=14823)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=14823, by_epoch=False)]

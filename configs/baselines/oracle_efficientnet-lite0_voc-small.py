_base_ = [
    '../_base_/models/efficientnet-lite0.py',  # ImageNet weights
    '../_base_/datasets/voc_small.py',  # 1,000 training images in data/voc_small
    '../_base_/schedules/adamw_poly.py',
    '../_base_/default_runtime_seg.py',
]
# Oracle: all 1,000 training images are labeled.
data_preprocessor = dict(size=_base_.crop_size, size_divisor=None)
model = dict(data_preprocessor=data_preprocessor, decode_head=dict(num_classes=21))
optim_wrapper = dict(optimizer=dict(lr=2e-4))

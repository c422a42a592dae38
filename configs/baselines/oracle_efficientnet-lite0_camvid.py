_base_ = [
    '../_base_/models/efficientnet-lite0.py',  # ImageNet weights, 11 classes
    '../_base_/datasets/camvid.py',  # 367 training images in data/camvid
    '../_base_/schedules/adamw_poly.py',
    '../_base_/default_runtime_seg.py',
]
# Oracle: all 367 training images are labeled.
data_preprocessor = dict(size=(160, 160), size_divisor=None)
model = dict(data_preprocessor=data_preprocessor)
optim_wrapper = dict(optimizer=dict(lr=2e-4))

_base_ = [
    '../_base_/models/efficientnet-lite0.py',  # ImageNet weights
    '../_base_/datasets/voc_small.py',  # in data/voc_small
    '../_base_/schedules/adamw_poly.py',
    '../_base_/default_runtime_seg.py',
]
# Oracle: all 886 training images (437 of `train`, 449 of `aug`) are labeled.
data_preprocessor = dict(size=_base_.crop_size, size_divisor=None)
# Background is two thirds of all pixels.
class_weight = [0.3] + [1.0] * 20
model = dict(
    data_preprocessor=data_preprocessor,
    decode_head=dict(num_classes=21, loss_decode=dict(class_weight=class_weight, avg_non_ignore=False)))
optim_wrapper = dict(optimizer=dict(lr=3e-4))

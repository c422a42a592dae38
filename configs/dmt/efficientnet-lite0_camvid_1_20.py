_base_ = [
    '../_base_/models/efficientnet-lite0.py',  # ImageNet weights, 11 classes
    '../_base_/datasets/camvid.py',  # 367 training images in data/camvid
    '../_base_/schedules/adamw_poly.py',
    '../_base_/default_runtime_seg.py',
]
runner_type = 'DMTRunner'
data_preprocessor = dict(size=(160, 160), size_divisor=None)
model = dict(data_preprocessor=data_preprocessor)
dmt = dict(
    split=dict(ratio=20),  # 18 labeled, 349 unlabeled images
    models=dict(a=_base_.lite0, b=_base_.lite1),
    supervised=dict(iters=400, optim_wrapper=dict(optimizer=dict(lr=2e-4))),
    semi=dict(epochs=2, labeled_per_batch=2, unlabeled_per_batch=6))

_base_ = [
    '../_base_/models/resnet18.py',  # 10 classes, ImageNet weights
    '../_base_/datasets/image_folders.py',  # data/images/{labeled,unlabeled,val}
    '../_base_/schedules/sgd_cosine.py',
    '../_base_/default_runtime_cls.py',
    '../_base_/methods/dmt_cls.py',
]
runner_type = 'DMTRunner'
# For your own images: set the number of classes here, and data_root on the command line.
model = dict(_base_.dynamic, head=dict(_base_.dynamic.head, num_classes=10))
optim_wrapper = dict(optimizer=dict(lr=0.01))
dmt = dict(
    scheme='chain',
    models=dict(a=dict()),
    supervised=dict(iters=2000, model=dict(mixup=dict(dominant=False))),
    semi=dict(iters=4000, labeled_per_batch=8, unlabeled_per_batch=56))

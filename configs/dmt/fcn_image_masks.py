_base_ = [
    '../_base_/models/fcn_r18-d8_small.py',  # quarter-width ResNet-18 from scratch, for CPUs and without a network
    '../_base_/datasets/image_masks.py',  # data/own/{images,masks,splits}
    '../_base_/schedules/sgd_poly.py',
    '../_base_/default_runtime_seg.py',
]
runner_type = 'DMTRunner'
classes = ('background', 'leaf', 'stem')  # mask values 0, 1, 2
own = dict(metainfo=dict(classes=classes))
val_dataloader = test_dataloader = dict(dataset=own)
model = dict(
    data_preprocessor=dict(size=(321, 321), size_divisor=None), decode_head=dict(num_classes=len(classes)))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, weight_decay=0.1))
dmt = dict(
    labeled=own, unlabeled=own,
    models=dict(a=dict(), b=dict()),  # from scratch, they differ by their initial weights
    loss=dict(gamma1=2.0, gamma2=2.0),
    supervised=dict(iters=4000, optim_wrapper=dict(optimizer=dict(lr=5e-3))),
    semi=dict(epochs=4, labeled_per_batch=2, unlabeled_per_batch=6))

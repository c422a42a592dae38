_base_ = [
    '../_base_/models/segformer_mit-b0.py', '../_base_/datasets/image_masks.py',
    '../_base_/schedules/sgd_poly.py', '../_base_/default_runtime_seg.py',
]
runner_type = 'DMTRunner'
classes = ('background', 'leaf', 'stem')  # mask values 0, 1, 2
own = dict(metainfo=dict(classes=classes))  # masks called NAME_mask.png need seg_map_suffix='_mask.png'
val_dataloader = test_dataloader = dict(dataset=own)
model = dict(decode_head=dict(num_classes=len(classes)))
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=3e-5, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(norm=dict(decay_mult=0.0), head=dict(lr_mult=10.0))))
dmt = dict(
    labeled=own, unlabeled=own,
    models=dict(
        a=dict(supervised=dict(labeled=dict(ann_file='splits/labeled_a.txt'))),
        b=dict(supervised=dict(labeled=dict(ann_file='splits/labeled_b.txt')))),
    supervised=dict(iters=4000, optim_wrapper=dict(optimizer=dict(lr=6e-5))),
    semi=dict(epochs=4, labeled_per_batch=1, unlabeled_per_batch=7))

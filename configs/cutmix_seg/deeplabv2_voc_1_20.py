_base_ = [
    '../_base_/models/deeplabv2_r101-d8.py',
    '../_base_/datasets/voc12.py',
    '../_base_/schedules/sgd_poly.py',
    '../_base_/default_runtime_seg.py',
    '../_base_/methods/views_seg.py',
]
runner_type = 'DMTRunner'
# CutMix-Seg: the student predicts mixed images as the average teacher predicts their parts.
model = dict(_delete_=True, type='CutMixSeg', model=_base_.model)
geometry = [transform for transform in _base_.dmt.unlabeled.pipeline if transform.type not in _base_.of_labels]
dmt = dict(
    split=dict(ratio=20),  # 530 labeled images
    unlabeled=dict(pipeline=[*geometry, _base_.one_view]),
    scheme='single',
    models=dict(
        a=dict(
            load_from='pretrained/deeplabv2_r101_coco_voc.pth',
            weights_help=_base_.coco_weights.weights_help,
            model=dict(model=_base_.coco_weights.model))),
    supervised=dict(epochs=134, optim_wrapper=dict(optimizer=dict(lr=2e-3))),
    # As many steps and images as all phases of DMT after the baseline.
    semi=dict(epochs=20, labeled_per_batch=1, unlabeled_per_batch=7))

_base_ = ['../dmt/efficientnet-lite0_camvid_1_20.py', '../_base_/methods/views_seg.py']
# UniMatch: two strong views and dropped features; boxes of other images.
model = dict(_delete_=True, type='UniMatch', model=_base_.stock)
geometry = [transform for transform in _base_.dmt.unlabeled.pipeline if transform.type not in _base_.of_labels]
dmt = dict(
    unlabeled=dict(pipeline=[*geometry, _base_.weak_two_strong]),
    scheme='single',
    models=dict(_delete_=True, a=dict(weights_help=_base_.weights_help)),
    semi=dict(epochs=10))  # as many steps and images as all phases of DMT after the baseline

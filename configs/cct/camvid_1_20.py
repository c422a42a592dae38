_base_ = ['../dmt/efficientnet-lite0_camvid_1_20.py', '../_base_/methods/views_seg.py']
# CCT: auxiliary decoders predict from perturbed features what the main one predicts.
model = dict(_delete_=True, type='CCT', model=_base_.stock)
geometry = [transform for transform in _base_.dmt.unlabeled.pipeline if transform.type not in _base_.of_labels]
dmt = dict(
    unlabeled=dict(pipeline=[*geometry, _base_.one_view]),
    scheme='single',
    models=dict(_delete_=True, a=dict(weights_help=_base_.weights_help)),
    semi=dict(epochs=10))  # as many steps and images as all phases of DMT after the baseline

_base_ = ['../dmt/fcn_digits.py', '../_base_/methods/views_seg.py']
# CPS with CutMix.
model = dict(_delete_=True, type='CrossPseudo', weight=1.0, cut_mix=True, model=_base_.stock)
geometry = [transform for transform in _base_.dmt.unlabeled.pipeline if transform.type not in _base_.of_labels]
dmt = dict(
    unlabeled=dict(pipeline=[*geometry, _base_.one_view]),
    scheme='single',
    models=dict(_delete_=True, a=dict()),
    semi=dict(iters=860))  # as many steps and images as all phases of DMT after the baseline

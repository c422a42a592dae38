_base_ = ['../dmt/efficientnet-lite0_voc-small.py', '../_base_/methods/views_seg.py']
# Mean Teacher, in the form of PixelSSL: logits are compared.
model = dict(_delete_=True, type='MeanTeacher', distance='logit', weight=1.0, ramp=0.15, teacher_momentum=0.99, warm=True, model=_base_.stock)
geometry = [transform for transform in _base_.train_pipeline if transform.type not in _base_.of_labels]
dmt = dict(
    unlabeled=dict(
        datasets=[
            dict(part, pipeline=[*geometry, _base_.teacher_student]) for part in _base_.dmt.unlabeled.datasets
        ]),
    scheme='single',
    models=dict(_delete_=True, a=dict(weights_help=_base_.weights_help)),
    semi=dict(epochs=5))  # as many steps and images as all phases of DMT after the baseline

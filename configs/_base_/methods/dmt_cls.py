# What DMT adds to a classifier, see dmt_seg.py.
dynamic = dict(
    type='DMTImageClassifier',
    # lam = max(lam, 1 - lam): a mixed image consists mostly of its own image.
    mixup=dict(alpha=0.75, dominant=True),
    head=dict(loss=dict(type='DynamicMutualLoss', gamma1=4.0, gamma2=4.0, ramp=True)))

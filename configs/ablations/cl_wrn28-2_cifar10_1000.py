_base_ = ['../dmt/wrn28-2_cifar10_4000.py']
# Curriculum Labeling: every pseudo label has dynamic weight 1.
model = dict(head=dict(loss=dict(gamma1=0.0, gamma2=0.0)))
dmt = dict(
    split=dict(num_labeled=1000),
    supervised=dict(epochs=2120),
    semi=dict(labeled_per_batch=16, unlabeled_per_batch=496))

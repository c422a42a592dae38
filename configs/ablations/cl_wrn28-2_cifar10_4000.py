_base_ = ['../dmt/wrn28-2_cifar10_4000.py']
# Curriculum Labeling: every pseudo label has dynamic weight 1.
model = dict(head=dict(loss=dict(gamma1=0.0, gamma2=0.0)))

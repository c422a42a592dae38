_base_ = ['../dmt/wrn10-1_cifar10_400.py']
# Curriculum Labeling: every pseudo label has dynamic weight 1.
model = dict(head=dict(loss=dict(gamma1=0.0, gamma2=0.0)))

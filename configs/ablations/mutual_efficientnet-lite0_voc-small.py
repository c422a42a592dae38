_base_ = ['../dmt/efficientnet-lite0_voc-small.py']
# Mutual training without weights: every pseudo label has dynamic weight 1.
model = dict(decode_head=dict(loss_decode=dict(gamma1=0.0, gamma2=0.0)))

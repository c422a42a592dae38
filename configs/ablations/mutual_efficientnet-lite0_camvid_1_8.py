_base_ = ['../dmt/efficientnet-lite0_camvid_1_20.py']
# Mutual training without weights: every pseudo label has dynamic weight 1.
model = dict(decode_head=dict(loss_decode=dict(gamma1=0.0, gamma2=0.0)))
dmt = dict(split=dict(ratio=8))

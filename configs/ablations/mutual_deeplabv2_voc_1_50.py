_base_ = ['../dmt/deeplabv2_voc_1_20.py']
# Mutual training without weights: every pseudo label has dynamic weight 1.
model = dict(decode_head=dict(loss_decode=dict(gamma1=0.0, gamma2=0.0)))
dmt = dict(
    # 211 labeled images as in deeplabv2_voc_1_50.py, the split of Table 7
    split=dict(ratio=50, split_id=2, difference_maximised=0.8),
    models=dict(b=dict(_delete_=True, **_base_.dmt.models.a)),
    supervised=dict(epochs=212))

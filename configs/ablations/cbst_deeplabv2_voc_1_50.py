_base_ = ['../dmt/deeplabv2_voc_1_20.py']
# CBST: one model teaches itself; every pseudo label has dynamic weight 1.
model = dict(decode_head=dict(loss_decode=dict(gamma1=0.0, gamma2=0.0)))
dmt = dict(
    split=dict(ratio=50, split_id=2),  # 211 labeled images, the split of Table 7
    supervised=dict(epochs=212),
    scheme='self',
    models=dict(_delete_=True, a=_base_.dmt.models.a))

_base_ = ['../dmt/deeplabv2_voc_1_20.py']
# DMT-Naive: every pseudo label has weight p_B ** gamma, whichever model is more confident.
model = dict(decode_head=dict(loss_decode=dict(variant='naive')))
dmt = dict(
    # 211 labeled images as in deeplabv2_voc_1_50.py, the split of Table 7
    split=dict(ratio=50, split_id=2, difference_maximised=0.8),
    models=dict(b=dict(_delete_=True, **_base_.dmt.models.a)),
    supervised=dict(epochs=212))

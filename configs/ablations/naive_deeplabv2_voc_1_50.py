_base_ = ['../dmt/deeplabv2_voc_1_20.py']
# DMT-Naive: every pseudo label has weight p_B ** gamma, whichever model is more confident.
model = dict(decode_head=dict(loss_decode=dict(variant='naive')))
dmt = dict(split=dict(ratio=50), supervised=dict(epochs=212))  # 211 labeled images

_base_ = ['../dmt/deeplabv2_voc_1_20.py']
# DMT-Flip: if the student is more confident, it trains on its own label.
model = dict(decode_head=dict(loss_decode=dict(variant='flip')))
dmt = dict(split=dict(ratio=50), supervised=dict(epochs=212))  # 211 labeled images

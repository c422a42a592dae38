_base_ = ['./deeplabv2_voc_1_20.py']
dmt = dict(
    split=dict(ratio=50),  # 211 labeled images
    supervised=dict(epochs=212))

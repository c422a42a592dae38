_base_ = ['./deeplabv2_voc_1_20.py']
dmt = dict(
    split=dict(ratio=8),  # 1,322 labeled images
    supervised=dict(epochs=85),
    semi=dict(epochs=25))

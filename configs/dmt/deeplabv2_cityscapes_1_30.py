_base_ = ['./deeplabv2_cityscapes_1_8.py']
dmt = dict(
    split=dict(ratio=29.75),  # 100 labeled images
    supervised=dict(epochs=327),
    semi=dict(epochs=8, labeled_per_batch=1, unlabeled_per_batch=7))

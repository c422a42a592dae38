_base_ = ['./deeplabv3plus_r101_voc_original_1464.py']
dmt = dict(
    labeled=dict(ann_file='splits/pascal/92/labeled.txt'),
    unlabeled=dict(ann_file='splits/pascal/92/unlabeled.txt'),
    supervised=dict(epochs=322))

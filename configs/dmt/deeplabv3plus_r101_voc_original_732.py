_base_ = ['./deeplabv3plus_r101_voc_original_1464.py']
dmt = dict(
    labeled=dict(ann_file='splits/pascal/732/labeled.txt'),
    unlabeled=dict(ann_file='splits/pascal/732/unlabeled.txt'),
    supervised=dict(epochs=114))

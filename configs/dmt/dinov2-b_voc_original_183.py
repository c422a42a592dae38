_base_ = ['./dinov2-b_voc_original_1464.py']
dmt = dict(
    labeled=dict(ann_file='splits/pascal/183/labeled.txt'),
    unlabeled=dict(ann_file='splits/pascal/183/unlabeled.txt'),
    supervised=dict(epochs=228))

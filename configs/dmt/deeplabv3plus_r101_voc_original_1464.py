_base_ = ['./deeplabv3plus_r101_voc_1_8.py']
# The "original" split: 1,464 of VOC's own 1,464 training images are labeled, in data_root/splits/pascal.
pool = dict(
    type='VOCImageMaskList',
    data_root=_base_.data_root,
    pipeline=_base_.train_pipeline)
dmt = dict(
    split=None,  # with given lists, both models see all labeled images: they differ by their heads and batches
    labeled=dict(_delete_=True, ann_file='splits/pascal/1464/labeled.txt', **pool),
    unlabeled=dict(_delete_=True, ann_file='splits/pascal/1464/unlabeled.txt', **pool),
    supervised=dict(epochs=81))

_base_ = ['./deeplabv2_voc_1_20.py']
dmt = dict(
    # The 1,464 training images of VOC are labeled; the 9,118 images that SBD adds are not.
    split=None,
    labeled=dict(ann_file='ImageSets/Segmentation/train.txt', data_prefix=dict(seg_map_path='SegmentationClass')),
    unlabeled=dict(ann_file='ImageSets/Segmentation/aug.txt'),
    supervised=dict(epochs=81),
    semi=dict(epochs=5))

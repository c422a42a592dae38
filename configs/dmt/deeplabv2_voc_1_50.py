_base_ = ['./deeplabv2_voc_1_20.py']
dmt = dict(
    # 211 labeled images. With so few, both models start from the COCO weights, and the first phase of each sees its own
    # 80 % of the labeled images: the difference between the models comes from the data.
    split=dict(ratio=50, difference_maximised=0.8),
    models=dict(b=dict(_delete_=True, **_base_.dmt.models.a)),
    supervised=dict(epochs=212))

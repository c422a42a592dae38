_base_ = ['./deeplabv2_voc_1_20.py']
dmt = dict(
    # 100 labeled images, of which each model sees its own 80: with so few, both start from the COCO weights and the
    # difference between the models comes from the data.
    split=dict(ratio=105.82, difference_maximised=0.8),
    models=dict(b=dict(_delete_=True, **_base_.dmt.models.a)),
    supervised=dict(epochs=309))

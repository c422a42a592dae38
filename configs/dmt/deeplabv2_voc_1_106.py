_base_ = ['./deeplabv2_voc_1_20.py']
dmt = dict(
    # 100 labeled images; each model sees its own 80. With so few images, both models start from the COCO weights and
    # differ by their data.
    split=dict(ratio=105.82, difference_maximised=0.8),
    models=dict(b=dict(_delete_=True, **_base_.dmt.models.a)),
    supervised=dict(epochs=309))

_base_ = ['./deeplabv2_voc_1_20.py']
dmt = dict(
    # 100 labeled images; everything else as in deeplabv2_voc_1_50.py.
    split=dict(ratio=105.82, difference_maximised=0.8),
    models=dict(b=dict(_delete_=True, **_base_.dmt.models.a)),
    supervised=dict(epochs=309))

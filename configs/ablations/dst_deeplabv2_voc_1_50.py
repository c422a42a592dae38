_base_ = ['../dmt/deeplabv2_voc_1_20.py']
# DST, dynamic self-training: one model teaches itself, with dynamic weights.
dmt = dict(
    split=dict(ratio=50, split_id=2),  # 211 labeled images, the split of Table 7
    supervised=dict(epochs=212),
    scheme='self',
    models=dict(_delete_=True, a=_base_.dmt.models.a))

_base_ = ['../dmt/deeplabv2_voc_1_20.py']
# Online ST: one model trains on its own confident labels of each batch, for as many steps as CBST.
model = dict(decode_head=dict(loss_decode=dict(variant='online', threshold=0.9)))
dmt = dict(
    split=dict(ratio=50, split_id=2),  # 211 labeled images, the split of Table 7
    supervised=dict(epochs=212),
    scheme='online',
    models=dict(_delete_=True, a=_base_.dmt.models.a),
    semi=dict(epochs=20))

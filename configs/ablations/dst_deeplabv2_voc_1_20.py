_base_ = ['../dmt/deeplabv2_voc_1_20.py']
# DST, dynamic self-training: one model teaches itself, with dynamic weights.
dmt = dict(scheme='self', models=dict(_delete_=True, a=_base_.dmt.models.a))

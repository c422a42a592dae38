_base_ = ['../dmt/fcn_camvid_1_8.py']
# CBST: one model teaches itself; every pseudo label has dynamic weight 1.
model = dict(decode_head=dict(loss_decode=dict(gamma1=0.0, gamma2=0.0)))
dmt = dict(scheme='self', models=dict(_delete_=True, a=dict()))

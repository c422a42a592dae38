_base_ = ['../dmt/efficientnet-lite0_voc-small.py']
# The control: on from the baseline of A with labels only, as many steps as A takes in the five iterations of DMT. It is
# one phase: run it with --phase 00_train_a.
checkpoint = 'work_dirs/efficientnet-lite0_voc-small/00_train_a/iter_400.pth'
dmt = dict(
    scheme='self',
    models=dict(_delete_=True, a=dict(load_from=checkpoint, **_base_.lite0)),
    supervised=dict(_delete_=True, iters=650))

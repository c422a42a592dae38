# CamVid without the class weights of its config: how much of the loss of small gammas do these weights cause?
seeds = (0,)
data_sets = dict(
    camvid_plain=dict(
        config='configs/dmt/efficientnet-lite0_camvid_1_20.py',
        options={
            'model.decode_head.loss_decode.class_weight': None,
            **{f'{kind}_dataloader.num_workers': 0 for kind in ('train', 'val', 'test')}},
        label_images=40))
methods = dict(
    mutual=dict(loss=dict(gamma1=0.0, gamma2=0.0)),
    dmt2=dict(loss=dict(gamma1=2.0, gamma2=2.0)),
    dmt5=dict(loss=dict(gamma1=5.0, gamma2=5.0)))

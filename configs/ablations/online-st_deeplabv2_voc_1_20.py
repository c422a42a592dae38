_base_ = ['../dmt/deeplabv2_voc_1_20.py', '../_base_/methods/views_seg.py']
# Online ST: one model trains on its own confident labels of each batch, for as many steps as CBST.
model = dict(_delete_=True, type='OnlineST', threshold=0.9, model=_base_.stock)
geometry = [transform for transform in _base_.dmt.unlabeled.pipeline if transform.type not in _base_.of_labels]
dmt = dict(
    unlabeled=dict(pipeline=[*geometry, _base_.one_view]),
    scheme='single',
    models=dict(
        _delete_=True,
        a=dict(
            load_from='pretrained/deeplabv2_r101_coco_voc.pth',
            weights_help=_base_.coco_weights.weights_help,
            model=dict(model=_base_.coco_weights.model))),
    semi=dict(epochs=20))

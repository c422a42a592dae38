# DMT on real images, several seeds: what the choice on one seed of CamVid (weights_camvid.py) is worth.
_no_workers = {f'{kind}_dataloader.num_workers': 0 for kind in ('train', 'val', 'test')}  # the images are small
seeds = (0, 1, 2)
data_sets = {
    'camvid': dict(
        config='configs/dmt/efficientnet-lite0_camvid_1_20.py',
        options=_no_workers,
        oracle=dict(a='configs/baselines/oracle_efficientnet-lite0_camvid.py')),
    'voc-small': dict(
        config='configs/dmt/efficientnet-lite0_voc-small.py',
        options=_no_workers,
        oracle=dict(a='configs/baselines/oracle_efficientnet-lite0_voc-small.py'),
        frequent_classes=('background', 'cat', 'dog', 'cow', 'horse', 'sheep', 'person', 'sofa')),
}
_unweighted = dict(gamma1=0.0, gamma2=0.0)
methods = {
    'cbst': dict(loss=_unweighted, self_training=('a',)),
    'mutual': dict(loss=_unweighted),
    'dmt5': dict(loss=dict(gamma1=5.0, gamma2=5.0)),
    'dmt5-half': dict(
        loss=dict(gamma1=5.0, gamma2=5.0, prior_corrected=True),
        options={'dmt.label_ratios': (0.1, 0.2, 0.3, 0.4, 0.5)}),
}

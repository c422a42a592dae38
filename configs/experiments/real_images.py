# DMT on real images over three seeds: python tools/experiment.py configs/experiments/real_images.py --jobs 2
_no_workers = {f'{kind}_dataloader.num_workers': 0 for kind in ('train', 'val', 'test')}  # the images are small
seeds = (0, 1, 2)
data_sets = {
    'camvid_1_20': dict(
        config='configs/dmt/efficientnet-lite0_camvid_1_20.py',
        options=_no_workers,
        oracle=dict(a='configs/baselines/oracle_efficientnet-lite0_camvid.py'),
        label_images=40),
    'voc-small': dict(
        config='configs/dmt/efficientnet-lite0_voc-small.py',
        options=_no_workers,
        oracle=dict(a='configs/baselines/oracle_efficientnet-lite0_voc-small.py'),
        frequent_classes=('background', 'cat', 'dog', 'cow', 'horse', 'sheep', 'person', 'sofa'),
        label_images=40),
}
_unweighted = dict(gamma1=0.0, gamma2=0.0)
_five = dict(gamma1=5.0, gamma2=5.0)
methods = {
    'cbst': dict(loss=_unweighted, self_training=('a',)),
    'mutual': dict(loss=_unweighted),
    'dst5': dict(loss=_five, self_training=('a',)),
    'dmt1': dict(loss=dict(gamma1=1.0, gamma2=1.0)),
    'dmt2': dict(loss=dict(gamma1=2.0, gamma2=2.0)),
    'dmt5': dict(loss=_five),
    'naive5': dict(loss=dict(_five, variant='naive')),
    'flip5': dict(loss=dict(_five, variant='flip')),
}

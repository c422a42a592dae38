# Which weights of pseudo labels pay? Chosen on the validation set of seed 0 of one data set; what won is tried on other
# seeds and data sets by real_images.py.
seeds = (0,)
data_sets = dict(
    camvid=dict(
        config='configs/dmt/efficientnet-lite0_camvid_1_20.py',
        options={f'{kind}_dataloader.num_workers': 0 for kind in ('train', 'val', 'test')},
        oracle=dict(a='configs/baselines/oracle_efficientnet-lite0_camvid.py')))
methods = {
    'cbst': dict(loss=dict(gamma1=0.0, gamma2=0.0), self_training=('a',)),
    'mutual': dict(loss=dict(gamma1=0.0, gamma2=0.0)),
    'dmt2': dict(),  # the config's own gamma, 2
    'dmt5': dict(loss=dict(gamma1=5.0, gamma2=5.0)),
    'dmt2-class-normalised': dict(loss=dict(class_normalised=True)),
    'dmt2-confidence': dict(loss=dict(confidence_power=1.0)),
    'dmt2-weighted': dict(loss=dict(normaliser='weighted')),
    'dmt2-growing': dict(options={'dmt.gamma_scale': (0.2, 0.4, 0.6, 0.8, 1.0)}),
}

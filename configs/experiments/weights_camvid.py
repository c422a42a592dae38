# Which weights of pseudo labels pay? Chosen on the validation set of seed 0 of one data set; what won is tried on other
# seeds and data sets by real_images.py.
seeds = (0,)
data_sets = dict(
    camvid=dict(
        config='configs/dmt/efficientnet-lite0_camvid_1_20.py',
        options={f'{kind}_dataloader.num_workers': 0 for kind in ('train', 'val', 'test')},
        oracle=dict(a='configs/baselines/oracle_efficientnet-lite0_camvid.py')))
_unweighted = dict(gamma1=0.0, gamma2=0.0)
_human = dict(class_weight_of='human')
_corrected = dict(prior_corrected=True)
methods = {
    'cbst': dict(loss=_unweighted, self_training=('a',)),
    'mutual': dict(loss=_unweighted),
    'dmt2': dict(),  # the config's own gamma, 2
    # The class weights of the config, which go from 0.3 to 3.2, scale the labels of humans only.
    'mutual-human': dict(loss=dict(_human, **_unweighted)),
    'dmt2-human': dict(loss=_human),
    'dmt5-human': dict(loss=dict(_human, gamma1=5.0, gamma2=5.0)),
    # The class weights are taken out of the predictions that become labels and weights.
    'mutual-corrected': dict(loss=dict(_corrected, **_unweighted)),
    'dmt5-corrected': dict(loss=dict(_corrected, gamma1=5.0, gamma2=5.0)),
    # Half of the labels at most.
    'dmt5-half': dict(
        loss=dict(_corrected, gamma1=5.0, gamma2=5.0), options={'dmt.label_ratios': (0.1, 0.2, 0.3, 0.4, 0.5)}),
    # The student sees the unlabeled images in other colors than the teacher.
    'dmt5-photometric': dict(
        loss=dict(_human, gamma1=5.0, gamma2=5.0),
        options={'dmt.unlabeled.pipeline': [
            dict(type='LoadImageFromFile'),
            dict(type='LoadDMTAnnotations'),
            dict(type='RandomResize', scale=(240, 180), ratio_range=(0.75, 1.5), keep_ratio=True),
            dict(type='RandomCrop', crop_size=(128, 128)),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PhotoMetricDistortion'),
            dict(type='PackDMTInputs'),
        ]}),
}

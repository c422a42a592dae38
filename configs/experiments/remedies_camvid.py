# Options of the loss and of the run against what large gammas cost rare classes and small ones let in: on the validation
# set of seed 0 of one data set. `dmt5` is what each changes.
seeds = (0,)
data_sets = dict(
    camvid_1_20=dict(
        config='configs/dmt/efficientnet-lite0_camvid_1_20.py',
        options={f'{kind}_dataloader.num_workers': 0 for kind in ('train', 'val', 'test')},
        oracle=dict(a='configs/baselines/oracle_efficientnet-lite0_camvid.py'),
        label_images=40))
_five = dict(gamma1=5.0, gamma2=5.0)
# sky, building, pole, road, pavement, tree, sign, fence, car, pedestrian, bicyclist
_by_class = [5.0, 5.0, 1.0, 5.0, 5.0, 5.0, 1.0, 1.0, 5.0, 1.0, 1.0]
methods = {
    'mutual': dict(loss=dict(gamma1=0.0, gamma2=0.0)),
    'dmt5': dict(loss=_five),
    # The teacher's confidence counts as well: w = c_A * p_B ** 5.
    'confidence': dict(loss=dict(_five, confidence_power=1.0)),
    # The loss is divided by the sum of the weights.
    'normalised': dict(loss=dict(_five, normaliser='weighted')),
    'class-normalised': dict(loss=dict(_five, class_normalised=True)),
    'by-class': dict(loss=dict(gamma1=_by_class, gamma2=_by_class)),
    'growing': dict(loss=_five, options={'dmt.gamma_scale': (0.2, 0.4, 0.6, 0.8, 1.0)}),
    'annealed': dict(loss=_five, options={'dmt.gamma_scale': (1.0, 0.8, 0.6, 0.4, 0.2)}),
    # The statistics of batch norm stay those of the labeled images.
    'norm-eval': dict(loss=_five, options={
        'dmt.semi.custom_hooks': [dict(type='ChannelsLastHook'), dict(type='NormEvalHook')]}),
}

_base_ = ['./efficientnet-lite0_voc-small.py']
# Pseudo-labeled images are mixed (CutMix) and seen in other colors, the 40 % most confident labels at most are used, half of
# a batch is labeled, the learning rate starts as high as that of the baselines, an average of the weights is what labels
# and is handed over; as many steps in sum as the base config.
unlabeled_pipeline = [*_base_.train_pipeline[:-1], dict(type='PhotoMetricDistortion'), _base_.train_pipeline[-1]]
model = dict(
    cut_mix=dict(area=0.5),
    decode_head=dict(loss_decode=dict(gamma1=5.0, gamma2=5.0, class_weight_of='human')))
dmt = dict(
    unlabeled=dict(datasets=[dict(part, pipeline=unlabeled_pipeline) for part in _base_.dmt.unlabeled.datasets]),
    label_ratios=(0.2, 0.4),
    semi=dict(
        iters=325, labeled_per_batch=4, unlabeled_per_batch=4, optim_wrapper=dict(optimizer=dict(lr=3e-4)),
        custom_hooks=[*_base_.custom_hooks, dict(type='EMAHook', momentum=0.01)]))

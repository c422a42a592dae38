# The publication's network with random weights, on a GPU:
# python tools/experiment.py configs/experiments/deeplabv2-random_voc-small.py --jobs 4
seeds = (0,)
data_sets = {
    'voc-small': dict(
        config='configs/dmt/deeplabv2-random_voc-small.py',
        options={'optim_wrapper.type': 'AmpOptimWrapper'},
        oracle=dict(a='configs/baselines/oracle_deeplabv2-random_voc-small.py'),
        frequent_classes=('background', 'cat', 'dog', 'cow', 'horse', 'sheep', 'person', 'sofa'))}
methods = dict(dmt2=dict(loss=dict(gamma1=2.0, gamma2=2.0)))

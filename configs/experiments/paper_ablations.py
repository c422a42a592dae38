# Table 7: ablations on PASCAL VOC 2012. python tools/experiment.py configs/experiments/paper_ablations.py --published
seeds = (0, 1, 2)
seed_keys = ('randomness.seed',)  # Table 7 is of one split each: 2 for 1/50; the one of 1/20 is not published
control = False  # not in the paper
data_sets = dict(
    deeplabv2_voc_1_20=dict(config='configs/dmt/deeplabv2_voc_1_20.py'),
    deeplabv2_voc_1_50=dict(config='configs/dmt/deeplabv2_voc_1_50.py', options={'dmt.split.split_id': 2}))
# 1/50: the first phases of mutual training see 80 % of the labeled images, those of the others see all.
methods = {
    'baseline-all': dict(
        options={'dmt.split.difference_maximised': None}, supervised_only=('a',), data_sets=('deeplabv2_voc_1_50',)),
    'online-st': dict(config='configs/ablations/online-st_{data_set}.py', baseline='baseline-all'),
    'cbst': dict(config='configs/ablations/cbst_{data_set}.py', baseline='baseline-all'),
    'dst': dict(config='configs/ablations/dst_{data_set}.py', baseline='baseline-all'),
    'naive': dict(config='configs/ablations/naive_{data_set}.py'),
    'dmt': dict(),
    'flip': dict(config='configs/ablations/flip_{data_set}.py'),
}
published = dict(
    source='Table 7 of arXiv 2004.08514',
    rows={
        'baseline': dict(values=dict(deeplabv2_voc_1_20=61.90, deeplabv2_voc_1_50=56.29)),
        'online-st': dict(values=dict(deeplabv2_voc_1_20=63.12, deeplabv2_voc_1_50=53.52)),
        'cbst': dict(values=dict(deeplabv2_voc_1_20=65.09, deeplabv2_voc_1_50=62.29)),
        'dst': dict(values=dict(deeplabv2_voc_1_20=69.43, deeplabv2_voc_1_50=66.50)),
        'naive': dict(values=dict(deeplabv2_voc_1_20=70.00, deeplabv2_voc_1_50=64.95)),
        'dmt': dict(values=dict(deeplabv2_voc_1_20=70.16, deeplabv2_voc_1_50=68.37)),
        'flip': dict(values=dict(deeplabv2_voc_1_20=70.17, deeplabv2_voc_1_50=68.35)),
    })

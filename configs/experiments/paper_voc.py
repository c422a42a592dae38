# Table 4: PASCAL VOC 2012. python tools/experiment.py configs/experiments/paper_voc.py --published
seeds = (0, 1, 2)  # the split ids
control = False  # not in the paper
data_sets = dict(
    voc_1_106=dict(config='configs/dmt/deeplabv2_voc_1_106.py', oracle_of='voc_1_8'),
    voc_1_50=dict(config='configs/dmt/deeplabv2_voc_1_50.py', oracle_of='voc_1_8'),
    voc_1_20=dict(config='configs/dmt/deeplabv2_voc_1_20.py', oracle_of='voc_1_8'),
    voc_1_8=dict(
        config='configs/dmt/deeplabv2_voc_1_8.py', oracle='configs/baselines/oracle_deeplabv2_voc.py'))
methods = {
    # The first phases of 1/106 and 1/50 see 80 % of the labeled images; the paper's Baseline sees all.
    'baseline-all': dict(
        options={'dmt.split.difference_maximised': None}, supervised_only=('a',), data_sets=('voc_1_106', 'voc_1_50')),
    'dmt': dict(),
}
published = dict(
    source='Table 4 of arXiv 2004.08514, as in SEGMENTATION.md of voldemortX/DST-CBC',
    rows={
        'baseline': dict(values=dict(voc_1_106=46.66, voc_1_50=55.62, voc_1_20=62.29, voc_1_8=67.37), oracle=74.75),
        'dmt': dict(values=dict(voc_1_106=63.04, voc_1_50=67.15, voc_1_20=69.92, voc_1_8=72.70), oracle=74.75),
        'Mean Teacher': dict(values=dict(voc_1_8=67.65), oracle=73.59),
        'Hung et al.': dict(values=dict(voc_1_50=57.2, voc_1_20=64.7, voc_1_8=69.5), oracle=74.9),
        's4GAN + MLMT': dict(values=dict(voc_1_50=63.3, voc_1_20=67.2, voc_1_8=71.4), oracle=75.6),
        'CutMix': dict(values=dict(voc_1_106=53.79, voc_1_50=64.81, voc_1_20=66.48, voc_1_8=67.60), oracle=72.54),
        'CCT, PSPNet': dict(values=dict(voc_1_8=70.45), oracle=75.25),
        'GCT': dict(values=dict(voc_1_8=70.57), oracle=74.06),
    })

# Table 6: Cityscapes. python tools/experiment.py configs/experiments/paper_cityscapes.py --published
seeds = (0, 1, 2)  # the split ids
control = False  # not in the paper
data_sets = dict(
    cityscapes_1_30=dict(config='configs/dmt/deeplabv2_cityscapes_1_30.py', oracle_of='cityscapes_1_8'),
    cityscapes_1_8=dict(
        config='configs/dmt/deeplabv2_cityscapes_1_8.py', oracle='configs/baselines/oracle_deeplabv2_cityscapes.py'))
methods = dict(dmt=dict())
published = dict(
    source='Table 6 of arXiv 2004.08514, as in SEGMENTATION.md of voldemortX/DST-CBC',
    rows={
        'baseline': dict(values=dict(cityscapes_1_30=49.54, cityscapes_1_8=59.65), oracle=68.16),
        'dmt': dict(values=dict(cityscapes_1_30=54.80, cityscapes_1_8=63.03), oracle=68.16),
        'Hung et al.': dict(values=dict(cityscapes_1_8=58.8), oracle=67.7),
        's4GAN + MLMT': dict(values=dict(cityscapes_1_8=59.3), oracle=65.8),
        'CutMix': dict(values=dict(cityscapes_1_30=51.20, cityscapes_1_8=60.34), oracle=67.68),
    })

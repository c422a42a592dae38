# Table 5: DMT against the labels of SBD. python tools/experiment.py configs/experiments/paper_human_labels.py --published
seeds = (0, 1, 2)  # the labeled images are always the 1,464 of VOC
control = False  # not in the paper
data_sets = dict(
    voc_1464=dict(
        config='configs/dmt/deeplabv2_voc_1464.py', oracle='configs/baselines/oracle_deeplabv2_voc.py'))
methods = dict(dmt=dict())
published = dict(
    source='Table 5 of arXiv 2004.08514, as in SEGMENTATION.md of voldemortX/DST-CBC',
    rows=dict(
        baseline=dict(values=dict(voc_1464=72.10), oracle=74.75),
        dmt=dict(values=dict(voc_1464=74.85), oracle=74.75),
        oracle=dict(values=dict(voc_1464=74.75))))

# Segmentation methods on real images of many classes, from one baseline, for as many steps and images as DMT:
# python tools/experiment.py configs/experiments/methods_voc-small.py --jobs 2
seeds = (0, 1, 2)
data_sets = {
    'voc-small': dict(
        config='configs/dmt/efficientnet-lite0_voc-small.py',
        options={f'{kind}_dataloader.num_workers': 0 for kind in ('train', 'val', 'test')},  # the images are small
        oracle=dict(a='configs/baselines/oracle_efficientnet-lite0_voc-small.py'),
        frequent_classes=('background', 'cat', 'dog', 'cow', 'horse', 'sheep', 'person', 'sofa'))}
methods = {
    'dmt2': dict(loss=dict(gamma1=2.0, gamma2=2.0)),
    'fixmatch': dict(config='configs/fixmatch/voc-small.py'),
    'unimatch': dict(config='configs/unimatch/voc-small.py'),
    'cps': dict(config='configs/cross_pseudo/voc-small.py'),
    'cps-dmt': dict(config='configs/cross_pseudo/voc-small.py', options={'model.weighting': 'dmt'}),
    'cutmix-seg': dict(config='configs/cutmix_seg/voc-small.py'),
    'mean-teacher': dict(config='configs/mean_teacher/voc-small.py'),
    'online-st': dict(config='configs/online_st/voc-small.py'),
    'cct': dict(config='configs/cct/voc-small.py'),
}

# All segmentation methods on the embedded digit scenes, from shared baselines, for as many steps and images as DMT:
# python tools/experiment.py configs/experiments/methods_digits.py --jobs 2
seeds = (0, 1, 2)
data_sets = dict(
    digits=dict(config='configs/dmt/fcn_digits.py', oracle='configs/baselines/oracle_fcn_digits.py'))
methods = {
    'dmt': dict(),
    'cbst': dict(loss=dict(gamma1=0.0, gamma2=0.0), self_training=('a',)),
    'online-st': dict(config='configs/online_st/digits.py'),
    'fixmatch': dict(config='configs/fixmatch/digits.py'),
    'unimatch': dict(config='configs/unimatch/digits.py'),
    'unimatch-v2': dict(config='configs/unimatch/digits_v2.py'),
    'cps': dict(config='configs/cross_pseudo/digits.py'),
    'cps-cutmix': dict(config='configs/cross_pseudo/digits_cutmix.py'),
    'cps-dmt': dict(config='configs/cross_pseudo/digits_dmt.py'),
    'cutmix-seg': dict(config='configs/cutmix_seg/digits.py'),
    'mean-teacher': dict(config='configs/mean_teacher/digits.py'),
    'cct': dict(config='configs/cct/digits.py'),
}

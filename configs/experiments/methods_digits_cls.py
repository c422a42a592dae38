# All classification methods on the embedded digits, 50 of 1,078 labeled. The single-stage methods train from random
# weights, for as many steps as DMT in all its phases: python tools/experiment.py configs/experiments/methods_digits_cls.py
seeds = (0, 1, 2)
data_sets = {
    'digits-cls': dict(config='configs/dmt/wrn10-1_digits.py', oracle='configs/baselines/oracle_wrn10-1_digits.py')}
methods = {
    'dmt': dict(),
    'cl': dict(loss=dict(gamma1=0.0, gamma2=0.0)),
    'fixmatch': dict(config='configs/fixmatch/digits_cls.py'),
    'mixmatch': dict(config='configs/mixmatch/digits_cls.py'),
    'mean-teacher': dict(config='configs/mean_teacher/digits_cls.py'),
    'cps': dict(config='configs/cross_pseudo/digits_cls.py'),
    'dual-student': dict(config='configs/dual_student/digits_cls.py'),
    'deep-co-training': dict(config='configs/deep_co_training/digits_cls.py'),
}

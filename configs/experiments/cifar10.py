# DMT and Curriculum Labeling on a part of CIFAR-10: python tools/experiment.py configs/experiments/cifar10.py --jobs 2
seeds = (0, 1, 2)
data_sets = dict(
    cifar10_400=dict(
        config='configs/dmt/wrn10-1_cifar10_400.py', oracle='configs/baselines/oracle_wrn10-1_cifar10.py'))
methods = dict(cl=dict(loss=dict(gamma1=0.0, gamma2=0.0)), dmt=dict())

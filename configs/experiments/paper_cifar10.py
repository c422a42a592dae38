# Tables 2 and 3: CIFAR-10. python tools/experiment.py configs/experiments/paper_cifar10.py --published
seeds = (1, 2, 3, 4, 5)  # the split ids
control = False  # not in the paper
data_sets = dict(
    cifar10_1000=dict(config='configs/dmt/wrn28-2_cifar10_1000.py', oracle_of='cifar10_4000'),
    cifar10_4000=dict(
        config='configs/dmt/wrn28-2_cifar10_4000.py', oracle='configs/baselines/oracle_wrn28-2_cifar10.py'))
methods = dict(cl=dict(loss=dict(gamma1=0.0, gamma2=0.0)), dmt=dict())
published = dict(
    source='Tables 2 and 3 of arXiv 2004.08514; 4,000 labels also in CLASSIFICATION.md of voldemortX/DST-CBC',
    rows={
        'baseline': dict(values=dict(cifar10_1000=75.14, cifar10_4000=86.08), oracle=96.35),
        'cl': dict(values=dict(cifar10_1000=90.61, cifar10_4000=94.02), oracle=96.35),
        'dmt': dict(values=dict(cifar10_1000=91.51, cifar10_4000=94.21), oracle=96.35),
        'Mean Teacher': dict(values=dict(cifar10_4000=89.64)),
        'DCT, two models, CNN-13': dict(values=dict(cifar10_4000=90.97)),
        'Dual Student, CNN-13': dict(values=dict(cifar10_4000=91.11)),
        'MixMatch': dict(values=dict(cifar10_4000=93.76)),
        'DAG, CNN-13': dict(values=dict(cifar10_4000=93.87)),
    })

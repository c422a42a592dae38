# DMT and its ablations on the embedded digit scenes: python tools/experiment.py configs/experiments/digits.py
seeds = (0, 1, 2)
data_sets = dict(
    digits=dict(config='configs/dmt/fcn_digits.py', oracle='configs/baselines/oracle_fcn_digits.py'))
methods = dict(
    cbst=dict(loss=dict(gamma1=0.0, gamma2=0.0), self_training=('a', 'b')),
    mutual=dict(loss=dict(gamma1=0.0, gamma2=0.0)),  # without weights
    dmt=dict(loss=dict(gamma1=2.0, gamma2=2.0)))

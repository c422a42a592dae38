"""Epochs of a config become steps: here 10 steps an epoch, 30 steps a phase, 20 epochs in the config."""

import pytest

from mmdmt.engine.epochs import counts_epochs, to_steps
from mmdmt.errors import UserError

LOOP = dict(type='EpochBasedTrainLoop', max_epochs=20)


def converted(**config):
    notes = to_steps(config, epoch=10, steps=30, whole=(20, 5000))
    return config, notes


@pytest.mark.parametrize(
    ('loop', 'expected'),
    [
        ({}, False),
        (LOOP, True),
        (dict(type='mmengine.EpochBasedTrainLoop'), True),
        (dict(type='IterBasedTrainLoop', max_iters=9), False),
        (dict(by_epoch=True, max_epochs=3), True),
        (dict(by_epoch=False, max_iters=3), False),
        (dict(max_epochs=3), True),
    ],
    ids=str,
)
def test_loops(loop, expected):
    assert counts_epochs(loop) is expected


def test_loop_of_another_type():
    with pytest.raises(UserError, match=r"^train_cfg\.type='FlexibleRunnerLoop' is not one of \('EpochBasedTrainLoop'"):
        counts_epochs(dict(type='FlexibleRunnerLoop'))


@pytest.mark.parametrize(('given', 'expected'), [({}, 10), (dict(val_interval=2), 20)])
def test_validations_of_an_epoch_loop(given, expected):
    config, notes = converted(train_cfg={**LOOP, **given, 'val_begin': 3, 'dynamic_intervals': [(15, 1)]})
    loop = config['train_cfg']
    assert (loop['val_interval'], loop['val_begin'], loop['dynamic_intervals']) == (expected, 30, [(150, 10)])
    assert f'train_cfg.val_interval={expected // 10} epochs = {expected} steps' in notes


def test_steps_stay_steps():
    loop = dict(type='IterBasedTrainLoop', max_iters=5000, val_interval=7)
    schedulers = [dict(type='MultiStepLR', milestones=[3, 4], by_epoch=False)]
    hooks = dict(
        checkpoint=dict(type='CheckpointHook', interval=9, by_epoch=False), logger=dict(type='LoggerHook', interval=5)
    )
    config, notes = converted(train_cfg=dict(loop), param_scheduler=schedulers, default_hooks=hooks,
                              custom_hooks=[dict(type='EMAHook', begin_iter=4)])  # fmt: skip
    assert notes == []
    assert config['train_cfg'] == loop
    assert schedulers == [dict(type='MultiStepLR', milestones=[3, 4], by_epoch=False)]
    assert (hooks['checkpoint']['interval'], hooks['logger']['interval']) == (9, 5)
    assert config['custom_hooks'] == [dict(type='EMAHook', begin_iter=4)]


@pytest.mark.parametrize(
    'by_epoch', [dict(by_epoch=True), {}, dict(by_epoch=True, convert_to_iter_based=True)], ids=str
)
@pytest.mark.parametrize(
    ('scheduler', 'expected'),
    [
        (dict(type='MultiStepLR', milestones=[1, 2]), dict(milestones=[10, 20])),
        (dict(type='StepLR', step_size=2), dict(step_size=20)),
        (dict(type='LinearLR', start_factor=0.1, end=1), dict(start_factor=0.1, end=10)),
        (dict(type='PolyLR', begin=1, end=20), dict(begin=10, end=30)),  # to the end of the phase
        (dict(type='PolyLR', begin=0, end=5000), dict(begin=0, end=30)),
        (dict(type='CosineAnnealingLR', T_max=20), dict(T_max=30)),
        (dict(type='CosineAnnealingLR', T_max=19, begin=1, end=20), dict(begin=10, end=30)),
        (dict(type='CosineAnnealingLR', T_max=19, begin=1), dict(begin=10)),
        (dict(type='CosineAnnealingLR', T_max=18, begin=1, end=20), dict(T_max=180, begin=10, end=30)),
        (dict(type='OneCycleLR', total_steps=20, eta_max=1.0), dict(total_steps=30, eta_max=1.0)),
        (dict(type='CosineRestartLR', periods=[1, 2]), dict(periods=[10, 20])),
        (dict(type='ExponentialLR', gamma=0.5), dict(gamma=pytest.approx(0.5**0.1))),
        (dict(type='mmengine.MultiStepLR', milestones=[0.5]), dict(milestones=[5])),
        (dict(type='LinearLR', end=2), dict(end=20)),  # 20 steps are not the 20 epochs of the config
        (dict(type='StepLR', step_size=30), dict(step_size=300)),  # nor 30 epochs the 30 steps of the phase
    ],
    ids=str,
)
def test_schedulers(scheduler, expected, by_epoch):
    scheduler = {**scheduler, **by_epoch}
    converted(param_scheduler=[scheduler])
    assert scheduler == {'type': scheduler['type'], 'by_epoch': False, **expected}


def test_scheduler_that_waits_for_a_metric():
    scheduler = dict(type='ReduceOnPlateauLR', monitor='mIoU', patience=2)
    assert converted(param_scheduler=scheduler)[1] == []
    assert scheduler == dict(type='ReduceOnPlateauLR', monitor='mIoU', patience=2)


def test_schedulers_of_several_optimizers():
    schedulers = dict(one=[dict(type='StepLR', step_size=1)], two=dict(type='StepLR', step_size=2))
    converted(param_scheduler=schedulers)
    assert (schedulers['one'][0]['step_size'], schedulers['two']['step_size']) == (10, 20)


@pytest.mark.parametrize(
    ('hook', 'expected'),
    [
        (dict(type='CheckpointHook', interval=1), dict(interval=10, by_epoch=False)),
        (dict(type='CheckpointHook', interval=2, by_epoch=True, save_begin=3),
         dict(interval=20, by_epoch=False, save_begin=30)),
        (dict(type='CheckpointHook', interval=-1), dict(interval=-1, by_epoch=False)),
        (dict(type='LoggerHook', interval=5, log_metric_by_epoch=True), dict(interval=5, log_metric_by_epoch=False)),
        (dict(type='EMAHook', begin_epoch=2), dict(begin_iter=20)),
        (dict(type='ProfilerHook', by_epoch=True, profile_times=1), dict(by_epoch=False, profile_times=10)),
        (dict(type='PreciseBNHook', num_samples=8), dict(num_samples=8, interval=10)),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize('place', ['default_hooks', 'custom_hooks'])
def test_hooks(hook, expected, place):
    hook = dict(hook)
    _, notes = converted(train_cfg=LOOP, **{place: [hook] if place == 'custom_hooks' else dict(one=hook, other=None)})
    assert hook == {'type': hook['type'], **expected}
    assert [note for note in notes if note.startswith(place)] or expected.get('interval') in (-1, 5)


@pytest.mark.parametrize(
    'hook',
    [dict(type='SwitchRecipeHook', schedule=[dict(action_epoch=3, x=1)]), dict(type='Own', switch_epoch=1)],
    ids=str,
)
def test_hooks_that_wait_for_an_epoch(hook):
    with pytest.raises(UserError, match=r'^custom_hooks\.0 \(\w+\) waits for an epoch \((action|switch)_epoch=\d\)'):
        converted(custom_hooks=[hook])


def test_log_counts_steps():
    assert converted(log_processor=dict(by_epoch=True))[0]['log_processor'] == dict(by_epoch=False)


def test_cosine_in_steps_after_a_warm_up():
    scheduler = dict(type='CosineAnnealingLR', T_max=4500, begin=500, end=5000, by_epoch=False)
    converted(param_scheduler=[scheduler])
    assert scheduler == dict(type='CosineAnnealingLR', begin=500, end=30, by_epoch=False)


def test_hooks_that_are_no_dicts_are_left_to_mmengine():
    converted(custom_hooks=['EMAHook'], default_hooks=dict(timer=None))


def test_steps_that_are_as_many_as_the_epochs_by_chance():
    """A warm-up of 20 steps in a config of 20 epochs stays a warm-up; in epochs, 20 is the end."""
    warm_up, rest = dict(type='LinearLR', end=20, by_epoch=False), dict(type='PolyLR', begin=20, end=20, by_epoch=True)
    config, _ = converted(train_cfg=dict(LOOP), param_scheduler=[dict(warm_up), dict(rest, begin=1)])
    assert [part['end'] for part in config['param_scheduler']] == [20, 30]
    config, _ = converted(
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=5000), param_scheduler=dict(warm_up, end=5000)
    )
    assert config['param_scheduler']['end'] == 30


@pytest.mark.parametrize('by_epoch', [True, False])
@pytest.mark.parametrize(
    ('given', 'shown'),
    [
        (dict(step_size='9'), r"step_size='9'"),
        (dict(milestones=[3, '4']), r"milestones=\[3, '4'\]"),
        (dict(milestones='34'), "milestones='34'"),
        (dict(begin='0'), "begin='0'"),
        (dict(T_max=True), 'T_max=True'),
    ],
    ids=str,
)
def test_schedulers_whose_lengths_are_no_numbers(given, shown, by_epoch):
    with pytest.raises(UserError, match=rf'^param_scheduler \(X\)\.{shown} must hold numbers of steps or epochs$'):
        converted(param_scheduler=[dict(given, type='X', by_epoch=by_epoch)])


@pytest.mark.parametrize(
    ('loop', 'told'),
    [
        (dict(val_intervall=2), r'train_cfg\.val_intervall is not one of .*; did you mean val_interval\?'),
        (dict(type='IterBasedTrainLoop', max_iter=2), r'train_cfg\.max_iter is not one of .*did you mean max_iters\?'),
        (dict(LOOP, xyz=1), r'train_cfg\.xyz is not one of .*dynamic_intervals$'),
    ],
)
def test_arguments_that_loops_do_not_have(loop, told):
    with pytest.raises(UserError, match=told):
        converted(train_cfg=loop)

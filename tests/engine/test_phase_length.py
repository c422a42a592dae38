import pytest

from mmdmt.engine.phase_length import own_best, set_length
from mmdmt.engine.settings import DMTSettings
from mmdmt.errors import UserError

COMMON = dict(
    models={'a': {}},
    labeled={},
    unlabeled={},
    label_pipeline=[],
    supervised={},
    semi={},
    metric='mIoU',
    ranking='class',
)
LAST, VAL = (DMTSettings(select=select, **COMMON) for select in ('last', 'val'))


def checkpoint(settings, **given):
    config = dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', **given)))
    set_length(config, 40, settings)
    return config['default_hooks']['checkpoint']


@pytest.mark.parametrize(('interval', 'expected'), [(None, 10), (-1, 10), (3, 3), (500, 10)])
def test_interval_of_checkpoints(interval, expected):
    given = {} if interval is None else dict(interval=interval)
    assert checkpoint(LAST, **given)['interval'] == expected


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (dict(out_dir='elsewhere'), "out_dir='elsewhere' cannot be used"),
        (dict(filename_tmpl='e{}.pth'), "filename_tmpl='e{}.pth' cannot be used"),
        (dict(save_optimizer=False), 'save_optimizer=False cannot be used'),
        (dict(save_param_scheduler=False), 'save_param_scheduler=False cannot be used'),
        (dict(interval='x'), "interval='x' must be a whole number of steps"),
        (dict(interval=2.5), r'interval=2\.5 must be a whole number of steps'),
    ],
    ids=str,
)
def test_checkpoints_from_which_a_run_cannot_go_on(given, message):
    with pytest.raises(UserError, match=rf'^default_hooks\.checkpoint\.{message}'):
        checkpoint(LAST, **given)


def test_what_the_stock_hook_does_anyway_may_be_set():
    given = dict(out_dir=None, filename_tmpl='iter_{}.pth', save_optimizer=True, save_param_scheduler=True)
    assert given.items() <= checkpoint(LAST, **given).items()


@pytest.mark.parametrize('value', [None, 'CheckpointHook', False])
def test_no_checkpoints(value):
    with pytest.raises(UserError, match=rf'^default_hooks\.checkpoint={value!r} must be a dict: a phase hands over'):
        set_length(dict(default_hooks=dict(checkpoint=value)), 40, LAST)


@pytest.mark.parametrize('config', [{}, dict(default_hooks=None)])
def test_checkpoints_without_hooks(config):
    set_length(config, 40, LAST)
    assert config['default_hooks']['checkpoint']['type'] == 'PhaseCheckpointHook'


def test_best_checkpoints_of_the_user():
    assert checkpoint(LAST, save_best='mAcc', rule='greater')['save_best'] == 'mAcc'
    assert 'save_best' not in checkpoint(LAST)


@pytest.mark.parametrize(
    ('given', 'save_best', 'rule'),
    [
        ({}, 'mIoU', 'greater'),
        (dict(save_best='mIoU'), 'mIoU', 'greater'),
        (dict(save_best='auto'), 'mIoU', 'greater'),
        (dict(save_best='mAcc'), ['mIoU', 'mAcc'], ['greater', 'greater']),
        (dict(save_best='own', rule='less'), ['mIoU', 'own'], ['greater', 'less']),
        (dict(save_best=['mDice', 'mIoU', 'loss_x']), ['mIoU', 'mDice', 'loss_x'], ['greater', 'greater', 'less']),
        (dict(save_best=['x', 'y'], rule=['less', 'greater']), ['mIoU', 'x', 'y'], ['greater', 'less', 'greater']),
    ],
)
def test_selection_keeps_the_best_of_the_user(given, save_best, rule):
    found = checkpoint(VAL, **given)
    assert (found['save_best'], found['rule']) == (save_best, rule)


def test_own_best():
    assert own_best({}) == own_best(dict(save_best=None)) == []
    assert own_best(dict(save_best='x')) == own_best(dict(save_best=('x',))) == ['x']


def test_schedulers_of_several_optimizers():
    schedulers = dict(generator=[dict(type='PolyLR'), dict(type='PolyLR', end=9)], critic=dict(type='OneCycleLR'))
    config = dict(param_scheduler=schedulers)
    set_length(config, 40, LAST)
    assert [found['end'] for found in (*schedulers['generator'], schedulers['critic'])] == [40, 9, 40]


@pytest.mark.parametrize('number', [0, -1, 1.5, 'a', True, None])
def test_steps_of_an_update_that_are_no_number(number):
    with pytest.raises(ValueError, match=rf'accumulative_counts={number!r} must be a whole number above 0'):
        set_length(dict(optim_wrapper=dict(accumulative_counts=number)), 40, LAST)

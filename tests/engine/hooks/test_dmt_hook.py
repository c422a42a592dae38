import json
from types import SimpleNamespace

import pytest
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import nn

from mmdmt.engine import DMTRunner
from mmdmt.engine.hooks import DMTHook, dmt_hook
from mmdmt.errors import UserError


@pytest.fixture
def make_hook():
    def make(**options):
        return DMTHook(**{'phase': '01_train_a', 'model': 'a', 'metric': 'mIoU', **options})

    return make


@pytest.mark.parametrize(('phase', 'expected'), [('01_train_a', 10.0 + 7.0), ('00_train_a', 7.0)])
def test_time_accumulates_over_resumes_of_the_same_phase(make_hook, monkeypatch, phase, expected):
    clock = [100.0]
    monkeypatch.setattr(dmt_hook.time, 'perf_counter', lambda: clock[0])
    monkeypatch.setattr(dmt_hook.time, 'process_time', lambda: 2 * clock[0])
    first = make_hook(phase=phase)
    clock[0] += 10
    checkpoint = {'meta': {}}
    first.before_save_checkpoint(SimpleNamespace(model=nn.Linear(1, 1)), checkpoint)
    assert checkpoint['meta']['dmt'] == dict(phase=phase, model='a', seconds=10.0, cpu_seconds=20.0)
    second = make_hook()
    second.after_load_checkpoint(None, checkpoint)
    clock[0] += 7
    assert second.seconds == expected
    assert second.cpu_seconds == 2 * expected


def test_a_checkpoint_of_a_method_names_the_network_that_predicts(make_hook):
    model, checkpoint = nn.Linear(1, 1), {'meta': {}}
    model.predictor_prefix = 'teacher.'
    make_hook().before_save_checkpoint(SimpleNamespace(model=model), checkpoint)
    assert checkpoint['meta']['dmt']['predictor_prefix'] == 'teacher.'


def test_foreign_checkpoint(make_hook, monkeypatch):
    monkeypatch.setattr(dmt_hook.time, 'perf_counter', lambda: 100.0)
    own = make_hook()
    own.after_load_checkpoint(None, {'state_dict': {}})
    assert own.seconds == 0


def test_commit_of_a_label_phase(make_hook, tmp_path):
    (tmp_path / 'iter_4.pth').touch()
    own = make_hook(phase='01_label_a')
    own.after_test_epoch(
        SimpleNamespace(work_dir=str(tmp_path)), {'pseudo_label/coverage': 0.25, 'pseudo_label/images': 6.0}
    )
    record = json.loads((tmp_path / 'phase.json').read_text())
    assert (record['phase'], record['model'], record['select']) == ('01_label_a', 'a', 'last')
    assert (record['coverage'], record['images']) == (0.25, 6)
    assert 50 < record['memory_mib'] < 2**20
    assert not list(tmp_path.glob('*.pth'))
    assert not list(tmp_path.glob('.*'))


def test_phase_that_stops_early_hands_over_the_step_it_reached(tiny_config, tmp_path):
    """mmengine's EarlyStoppingHook ends a phase of 8 steps after the second validation that is no better."""
    stop = dict(type='EarlyStoppingHook', monitor='mIoU', patience=1, min_delta=100.0)
    options = {
        'dmt.scheme': 'self',
        'dmt.models': dict(_delete_=True, a=dict()),
        'dmt.label_ratios': (1.0,),
        'dmt.supervised': dict(_delete_=True, iters=8, train_cfg=dict(val_interval=2), custom_hooks=[stop]),
    }
    runner = DMTRunner(tiny_config(tmp_path / 'run', options))
    runner.train()
    record = runner.manifest.record('00_train_a')
    assert record['steps'] < 8
    assert record['checkpoint'] == f'iter_{record["steps"]}.pth'
    assert runner.manifest.checkpoint('00_train_a').is_file()
    assert runner.manifest.is_complete('01_train_a')


@pytest.mark.parametrize('select', ['last', 'val'])
def test_best_checkpoints_of_the_user_stay(tiny_config, tmp_path, select):
    options = {
        'dmt.scheme': 'self',
        'dmt.models': dict(_delete_=True, a=dict()),
        'dmt.label_ratios': (1.0,),
        'dmt.select': select,
        'default_hooks.checkpoint': dict(save_best='mAcc', rule='greater'),
        'train_cfg.val_interval': 2,
    }
    runner = DMTRunner(tiny_config(tmp_path / 'run', options))
    runner.train()
    for phase in ('00_train_a', '01_train_a'):
        names = sorted(path.name.rpartition('_iter_')[0] for path in (tmp_path / 'run' / phase).glob('*.pth'))
        assert names == {'last': ['', 'best_mAcc'], 'val': ['best_mAcc', 'best_mIoU']}[select]
        handed_over = runner.manifest.checkpoint(phase).name
        assert handed_over.startswith({'last': 'iter_4', 'val': 'best_mIoU_iter_'}[select])


@pytest.mark.parametrize('select', ['last', 'val'])
def test_phase_that_another_hook_stops(tiny_config, tmp_path, monkeypatch, select):
    """The third of 8 steps is the last one, before any validation: it is validated, saved and handed over."""

    class EndHook(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            runner.train_loop.stop_training = runner.iter == 2

    monkeypatch.setitem(HOOKS.module_dict, 'EndHook', EndHook)
    options = {
        'dmt.scheme': 'self',
        'dmt.models': dict(_delete_=True, a=dict()),
        'dmt.label_ratios': (1.0,),
        'dmt.select': select,
        'dmt.semi.iters': 80,
        'dmt.semi.custom_hooks': [dict(type='EndHook')],
    }
    runner = DMTRunner(tiny_config(tmp_path / 'run', options))
    runner.train()
    record = runner.manifest.record('01_train_a')
    assert record['steps'] == 3
    assert record['checkpoint'] == {'last': 'iter_3.pth', 'val': 'best_mIoU_iter_3.pth'}[select]
    assert runner.manifest.checkpoint('01_train_a').is_file()
    assert record['metrics']['mIoU'] > 0


def test_metric_that_is_not_measured_stops_the_first_validation(make_hook):
    runner = SimpleNamespace(iter=4)
    own = make_hook(metric='mDice')
    with pytest.raises(UserError, match=r"^dmt\.metric='mDice' is not one that val_evaluator gives: aAcc, mIoU$"):
        own.after_val_epoch(runner, {'mIoU': 1.0, 'aAcc': 2.0})
    own.after_val_epoch(runner, {})
    make_hook().after_val_epoch(runner, {'mIoU': 1.0})

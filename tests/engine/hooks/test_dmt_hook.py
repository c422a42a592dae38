import json
from types import SimpleNamespace

import pytest

from mmdmt.engine import DMTRunner
from mmdmt.engine.hooks import DMTHook, dmt_hook


@pytest.fixture
def make_hook():
    def make(**options):
        return DMTHook(**{'phase': '01_train_a', 'model': 'a', 'metric': 'mIoU', **options})

    return make


@pytest.mark.parametrize(('phase', 'expected'), [('01_train_a', 10.0 + 7.0), ('00_train_a', 7.0)])
def test_time_accumulates_over_resumes_of_the_same_phase(make_hook, monkeypatch, phase, expected):
    clock = [100.0]
    monkeypatch.setattr(dmt_hook.time, 'perf_counter', lambda: clock[0])
    first = make_hook(phase=phase)
    clock[0] += 10
    checkpoint = {'meta': {}}
    first.before_save_checkpoint(None, checkpoint)
    assert checkpoint['meta']['dmt'] == dict(phase=phase, model='a', seconds=10.0)
    second = make_hook()
    second.after_load_checkpoint(None, checkpoint)
    clock[0] += 7
    assert second.seconds == expected


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

import json
import re

import numpy as np
import pytest
from mmengine.registry import init_default_scope

from mmdmt.engine import DMTRunner, watch
from mmdmt.engine.hooks.alarm_hook import AlarmHook
from mmdmt.engine.hooks.screen_hook import ScreenHook
from mmdmt.engine.pace import Pace
from mmdmt.engine.watch import Watch
from tests.steps import SELF_TAUGHT

PLAN = {**SELF_TAUGHT, 'dmt.label_ratios': (0.5, 1.0)}


@pytest.fixture
def runner(tiny_config, tmp_path):
    """00_train_a, 01_label_a, 01_train_a, 02_label_a, 02_train_a: 4 steps or 6 images each."""
    init_default_scope('mmseg')
    runner = DMTRunner(tiny_config(tmp_path / 'run', PLAN))
    runner.data.prepare(tmp_path / 'splits')
    return runner


def complete(runner, name, **record):
    folder = runner.manifest.folder(name)
    folder.mkdir(parents=True)
    (folder / 'phase.json').write_text(json.dumps(record))


def hooks(runner, name):
    phase = next(phase for phase in runner.manifest.phases if phase.name == name)
    found = Watch(runner.manifest, runner.data, runner._logger, Pace()).hooks(phase)
    return {type(hook): hook for hook in found}


def test_time_left_from_complete_phases(runner):
    complete(runner, '00_train_a', steps=4, seconds=8.0)
    complete(runner, '01_label_a', images=6, seconds=3.0)
    hook = hooks(runner, '01_train_a')[ScreenHook]
    assert hook.title == '3/5 01_train_a'
    left = hook.left
    assert (left.kind, left.later) == ('semi', dict(label=6, semi=4))
    assert left.seconds == dict(supervised=2.0, label=0.5)
    assert left.batch_size == 3
    complete(runner, '02_train_a', steps=4, seconds=1.0)  # as a run with --phase may have
    assert hooks(runner, '01_train_a')[ScreenHook].left.later == dict(label=6)


def test_labels_are_compared_with_humans_and_with_those_before(runner):
    complete(runner, '01_label_a', images=6, seconds=3.0)
    (runner.manifest.folder('01_label_a') / 'labels.json').write_text(json.dumps(dict(kept_by_class=[7, 3])))
    assert hooks(runner, '01_label_a')[AlarmHook].before is None
    runner.data.sets.class_counts['labeled'] = np.arange(256)
    alarm = hooks(runner, '02_label_a')[AlarmHook]
    assert (alarm.before, alarm.human) == ([7, 3], list(range(11)))
    assert alarm.classes[:2] == ['background', 'digit 0']
    assert hooks(runner, '02_train_a')[AlarmHook].before is None


def test_mean_weight_of_a_baseline_is_no_alarm(tiny_config, tmp_path, capsys):
    """It is logged as 0, since no label is weighted."""
    cfg = tiny_config(tmp_path, {**SELF_TAUGHT, 'dmt.supervised.iters': 40, 'dmt.semi.iters': 1})
    DMTRunner(cfg).train(phase='00_train_a')
    assert 'mean weight' not in capsys.readouterr().out


def test_other_processes_watch_nothing(runner, monkeypatch):
    monkeypatch.setattr(watch, 'is_main_process', lambda: False)
    other = Watch(runner.manifest, runner.data, runner._logger, Pace())
    assert other.hooks(runner.manifest.phases[0]) == []
    other.send_pictures(runner.manifest.phases[0])
    other.close()


def test_what_a_run_prints(tiny_config, tmp_path, capsys):
    """A line of each phase in a pipe, and the result; the log files have all else."""
    runner = DMTRunner(tiny_config(tmp_path, PLAN))
    runner.train()
    lines = capsys.readouterr().out.splitlines()
    phases = [line[16:] for line in lines if re.match(r'.{14}  \d/5 ', line)]
    assert [re.sub(r'\d+\.\d+|\d:\d\d:\d\d', 'x', line) for line in phases] == [
        '1/5 00_train_a: mIoU x, 4 steps in x',
        '2/5 01_label_a: coverage x, 6 images in x',
        '3/5 01_train_a: mIoU x, 4 steps in x',
        '4/5 02_label_a: coverage x, 6 images in x',
        '5/5 02_train_a: mIoU x, 4 steps in x',
    ]
    assert f'{runner.manifest.score(runner.manifest.phases[0], "mIoU"):.2f}' in phases[0]
    assert len(lines) < 35
    assert not [line for line in lines if 'Iter(' in line or 'per class' in line or '| 00_train_a' in line]
    (log,) = (tmp_path / '01_train_a').glob('*/*.log')
    for part in ('Iter(train) [2/4]', 'DMT phase 3/5 01_train_a; time left: ', 'per class results', 'Iter(val) [1/1]'):
        assert part in log.read_text()
    whole = (tmp_path / 'dmt.log').read_text()
    assert '| 00_train_a' in whole
    assert 'Phase 3 of 5' in whole
    assert phases[2] in whole


def test_a_class_without_labels_is_told_at_once(tiny_config, tmp_path, capsys):
    """After 4 steps, the teacher predicts hardly anything but background."""
    DMTRunner(tiny_config(tmp_path, {**SELF_TAUGHT, 'dmt.supervised.iters': 8, 'dmt.semi.iters': 1})).train()
    lines = [line for line in capsys.readouterr().out.splitlines() if 'WARNING' in line]
    found = [line for line in lines if 'the teacher labels 100' in line or 'the used labels hardly contain' in line]
    assert len(found) == 1

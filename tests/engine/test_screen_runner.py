import os
import re

import pytest
from mmengine.config import Config

from mmdmt.engine import DMTRunner
from mmdmt.engine.hooks import FitHook
from mmdmt.engine.screen_runner import run_alone
from mmdmt.errors import UnwritableError, UserError
from tests.steps import SELF_TAUGHT


def test_ordinary_training_and_test(ordinary, tmp_path, capsys):
    run_alone(ordinary, 'train', FitHook(whole=False))
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r'.{14}  step 4 of 4: aAcc: [\d.]+  mIoU: [\d.]+  mAcc: [\d.]+', lines[-1])
    assert len(lines) < 20  # the table of classes, and nothing of environment, config and hooks
    (log,) = (tmp_path / 'run').glob('*/*.log')
    for part in ('System environment', 'Config:', 'RuntimeInfoHook', 'Iter(train) [2/4]', 'Iter(val) [1/1]'):
        assert part in log.read_text()
    ordinary.load_from = str(tmp_path / 'run/iter_4.pth')
    metrics = run_alone(ordinary, 'test', FitHook())
    screen = capsys.readouterr().out
    assert f'mIoU: {metrics["mIoU"]:.4f}' in screen.splitlines()[-1]
    assert '| background |' in screen
    assert 'Config' not in screen


def test_debugging_shows_all(ordinary, capsys):
    ordinary.log_level = 'DEBUG'
    run_alone(ordinary, 'val')
    screen = capsys.readouterr().out
    assert [part for part in ('System environment', 'Config:', 'Iter(val) [1/1]') if part not in screen] == []
    assert screen.count('mIoU: ') == 1


def test_result_of_a_run(tiny_config, tmp_path, capsys):
    runner = DMTRunner(tiny_config(tmp_path, SELF_TAUGHT))
    runner.train()
    capsys.readouterr()
    metrics = runner.val()
    screen = capsys.readouterr().out
    assert f'mIoU: {metrics["mIoU"]:.4f}' in screen
    assert len(screen.splitlines()) < 20


@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='a system without /proc')
def test_work_dir_that_cannot_be_written(ordinary):
    ordinary.work_dir = '/proc/new'
    with pytest.raises(UnwritableError, match=r'^/proc/new cannot be written'):
        run_alone(ordinary, 'test')


@pytest.mark.parametrize('config', [{}, dict(train_dataloader=dict(batch_size=2))], ids=str)
def test_part_of_a_config(config, tmp_path):
    with pytest.raises(UserError, match='the config has no model'):
        run_alone(Config(dict(config, work_dir=str(tmp_path))), 'train')

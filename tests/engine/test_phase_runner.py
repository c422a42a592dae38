import json
import logging
import time
from types import SimpleNamespace

import mmengine.runner.runner
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from mmdmt.datasets import SeededDataset
from mmdmt.engine import DMTRunner
from mmdmt.engine.phase_runner import PhaseRunner, release
from mmdmt.errors import DiskFullError, UserError
from tests.ranks import ranks
from tests.steps import LOSS


def test_runs_of_the_same_second(train, monkeypatch):
    """A run finds nothing of another in its logs and curves, even where all phases of both start in one second."""
    monkeypatch.setattr(mmengine.runner.runner, 'time', SimpleNamespace(**{**vars(time), 'time': lambda: 0.0}))
    for loss_weight in (1e-3, 1.0):
        loss = dict(LOSS, loss_weight=loss_weight)
        runner = train({'model.decode_head.loss_decode': loss}, folder=f'weight_{loss_weight}')
        for phase in ('00_train_a', '01_train_a'):
            (log,) = (runner.work_dir / phase).glob('*/*.log')
            assert log.read_text().count('Iter(train)') == 2
            (curve,) = (runner.work_dir / phase).glob('*/vis_data/scalars.json')
            lines = [json.loads(line) for line in curve.read_text().splitlines()]
            losses = {line['iter']: line['loss'] for line in lines if 'loss' in line}
            assert losses.keys() == {2, 4}
            assert all(0.5 < loss / loss_weight < 5 for loss in losses.values())


def test_environment_and_hooks_are_logged_once(train, capsys):
    """Each phase has its config in its folder anyway; the screen shows neither."""
    runner = train({})
    screen = capsys.readouterr().out
    noise = ('System environment', 'Config:', 'RuntimeInfoHook', 'optim_wrapper', 'Iter(train)', 'per class')
    assert not [part for part in noise if part in screen]
    assert len(screen.splitlines()) < 30
    for name, shown in (('00_train_a', True), ('01_train_a', False)):
        (log,) = (runner.work_dir / name).glob('*/*.log')
        text = log.read_text()
        assert ('System environment' in text, '(VERY_HIGH   ) RuntimeInfoHook' in text) == (shown, shown)
        assert (runner.work_dir / name / f'{name}.py').is_file()


def test_release_closes_the_log_files_and_forgets_the_loaders(train, tmp_path):
    finished = train({})
    cfg = Config.fromfile(finished.work_dir / '00_train_a/00_train_a.py', import_custom_modules=False)
    cfg.work_dir = str(tmp_path / 'again')
    runner = PhaseRunner.from_cfg(cfg)
    runner.train()
    files = [handler for handler in runner.logger.handlers if isinstance(handler, logging.FileHandler)]
    assert files
    assert hasattr(runner.train_loop, 'dataloader')
    release(runner)
    assert not [handler for handler in runner.logger.handlers if isinstance(handler, logging.FileHandler)]
    assert all(handler.stream is None for handler in files)
    assert not hasattr(runner._train_loop, 'dataloader')


@pytest.mark.parametrize(('number', 'expected'), [(28, DiskFullError), (122, DiskFullError), (5, OSError)])
def test_checkpoint_that_the_disk_cannot_hold(monkeypatch, tmp_path, number, expected):
    """28: full; 122: quota used up; 5: another error."""

    def fail(self, out_dir, filename, *_, **__):
        (tmp_path / filename).write_bytes(b'half')
        raise OSError(number, 'cannot write')

    monkeypatch.setattr(Runner, 'save_checkpoint', fail)
    (tmp_path / 'iter_2.pth').write_bytes(bytes(3 * 2**20))
    with pytest.raises(OSError) as error:
        runner = PhaseRunner.__new__(PhaseRunner)
        runner.model = nn.Linear(1, 1)
        runner.save_checkpoint(str(tmp_path), 'iter_4.pth')
    assert type(error.value) is expected
    if expected is DiskFullError:
        assert str(error.value).startswith(
            f'{tmp_path}/iter_4.pth cannot be written: the disk is full. It needs 3.0 MiB or more, '
        )
    assert (tmp_path / 'iter_4.pth').exists() == (expected is OSError)


def fail_in_a_worker(cfg):
    def fail(self, indices):
        raise UserError('an image is missing')

    SeededDataset.__getitems__ = fail
    DMTRunner(cfg).train(phase='00_train_a')


@pytest.mark.parametrize('persistent', [True, False])
def test_process_ends_after_an_error_in_a_worker(tiny_config, tmp_path, persistent):
    """At its exit, Python waits for workers that are still there; they ignore its SIGTERM, once."""
    loader = {'train_dataloader.num_workers': 2, 'train_dataloader.persistent_workers': persistent}
    with ranks(1, fail_in_a_worker, tiny_config(tmp_path, loader)) as (only,):
        error = only.result(60)
        assert 'an image is missing' in str(error)
        only.process.join(10)
        assert only.process.exitcode == 0

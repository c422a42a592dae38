from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import ValLoop

from mmdmt.engine import DMTRunner, PhaseCheckpointHook
from tests.kills import MEASURED

OPTIONS = {'dmt.select': 'val', 'dmt.supervised.iters': 9, 'default_hooks.checkpoint.interval': 4}


def stop_at(monkeypatch, validation):
    """Interrupt a run at the begin of a validation of its first phase."""
    run, count = ValLoop.run, []

    def interrupted(self):
        count.append(self.runner.iter)
        if len(count) == validation:
            raise KeyboardInterrupt
        return run(self)

    monkeypatch.setattr(ValLoop, 'run', interrupted)


def test_checkpoint_is_written_before_each_validation(tiny_config, tmp_path, monkeypatch):
    iter_run, seen = ValLoop.run_iter, []

    def look(self, idx, data_batch):
        path = tmp_path / f'00_train_a/iter_{self.runner.iter}.pth'
        checkpoint = torch.load(path, weights_only=False)
        seen.append(checkpoint['meta']['iter'])
        assert 'best_score' not in checkpoint['message_hub']['runtime_info'] or self.runner.iter > 1
        iter_run(self, idx, data_batch)

    monkeypatch.setattr(ValLoop, 'run_iter', look)
    DMTRunner(tiny_config(tmp_path, OPTIONS)).train(phase='00_train_a')
    assert seen == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_no_checkpoint_while_gradients_are_accumulated(tiny_config, tmp_path, monkeypatch):
    written = []
    options = {**OPTIONS, 'optim_wrapper.accumulative_counts': 2}
    monkeypatch.setattr(
        'mmengine.hooks.CheckpointHook._save_checkpoint_with_step',
        lambda self, runner, step, meta: written.append(step),
    )
    stop_at(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        DMTRunner(tiny_config(tmp_path, options)).train(phase='00_train_a')
    assert set(written) == {2, 4}


def test_validation_keeps_the_name_of_the_last_checkpoint():
    """mmengine needs it at the end, for ``published_keys``."""
    hook = PhaseCheckpointHook(interval=1, by_epoch=False)
    hook.last_ckpt = 'iter_2.pth'
    hook.after_val_epoch(SimpleNamespace(), {'mIoU': 1.0})
    assert hook.last_ckpt == 'iter_2.pth'


def test_validation_that_was_cut_off_is_repeated(tiny_config, tmp_path, monkeypatch):
    """The best of all steps is handed over, also if the run was interrupted between that step and its validation."""
    whole = DMTRunner(tiny_config(tmp_path / 'whole', OPTIONS))
    whole.train(phase='00_train_a')
    expected = whole.manifest.record('00_train_a')
    best = int(expected['checkpoint'].rpartition('_')[2].removesuffix('.pth'))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at(patch, best)
        DMTRunner(tiny_config(tmp_path / 'cut', OPTIONS)).train(phase='00_train_a')
    cut = DMTRunner(tiny_config(tmp_path / 'cut', {**OPTIONS, 'resume': True}))
    cut.train(phase='00_train_a')
    found = cut.manifest.record('00_train_a')
    # What is measured differs; a checkpoint holds it, too.
    measured = dict.fromkeys(MEASURED)
    assert {**found, **measured} == {**expected, **measured}

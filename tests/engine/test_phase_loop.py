import pytest
from mmengine.runner import IterBasedTrainLoop

from mmdmt.datasets import SeededDataset
from mmdmt.engine import DMTRunner
from tests.runs import assert_same_weights

OPTIONS = {'dmt.supervised.iters': 13, 'train_dataloader.batch_size': 3, 'default_hooks.checkpoint.interval': 4}


def interrupt(monkeypatch, step):
    run_iter = IterBasedTrainLoop.run_iter

    def interrupted(self, data_batch):
        if self.iter == step:
            raise KeyboardInterrupt
        run_iter(self, data_batch)

    monkeypatch.setattr(IterBasedTrainLoop, 'run_iter', interrupted)


@pytest.mark.parametrize('workers', [0, 1])
def test_resumed_phase_ends_equal_and_loads_no_skipped_image(tiny_config, tmp_path, monkeypatch, workers):
    """With random scale and crop, and dropout; the checkpoint is of step 6, in the second pass over 4 images."""
    DMTRunner(tiny_config(tmp_path / 'whole', OPTIONS)).train(phase='00_train_a')
    options = {**OPTIONS, 'train_dataloader.num_workers': workers}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, 8)
        DMTRunner(tiny_config(tmp_path / 'cut', options)).train(phase='00_train_a')
    load, loaded = SeededDataset._load, []
    monkeypatch.setattr(SeededDataset, '_load', lambda self, index: loaded.append(index) or load(self, index))
    DMTRunner(tiny_config(tmp_path / 'cut', {**options, 'resume': True})).train(phase='00_train_a')
    assert_same_weights(*(tmp_path / f'{name}/00_train_a/iter_13.pth' for name in ('whole', 'cut')))
    if workers == 0:
        assert len(loaded) == 3 * (13 - 6)

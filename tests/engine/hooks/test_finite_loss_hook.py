import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import CheckpointHook
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample

from mmdmt.engine.hooks import FiniteLossHook
from mmdmt.engine.hooks.finite_loss_hook import FiniteLossHook as SameHook


@pytest.fixture
def step(tmp_path):
    """``step(loss, batch)``: step 3 of 5; there are checkpoints of steps 1 and 2."""
    for number in (1, 2):
        torch.save({}, tmp_path / f'iter_{number}.pth')
    runner = SimpleNamespace(iter=2, max_iters=5, work_dir=str(tmp_path))

    def take(loss, batch=None):
        FiniteLossHook('01_train_a').after_train_iter(runner, 2, batch, outputs={'loss': torch.tensor(loss)})

    return take


@pytest.mark.parametrize('loss', [math.nan, math.inf, -math.inf])
def test_stops_on_a_loss_that_is_not_finite(step, loss):
    with pytest.raises(FloatingPointError, match=rf'phase 01_train_a: the loss is {loss} at step 3 of 5\.'):
        step(loss)


def test_goes_on_with_a_finite_loss(step, tmp_path):
    assert step(1e30) is None
    assert len(list(tmp_path.glob('iter_*.pth'))) == 2


def test_checkpoint_that_led_to_the_loss_is_deleted(step, tmp_path):
    """The weights after step 2 gave it; those after step 1 gave a finite one."""
    with pytest.raises(FloatingPointError, match=rf'The last good checkpoint is {tmp_path}/iter_1\.pth'):
        step(math.nan)
    assert [path.name for path in tmp_path.glob('*.pth')] == ['iter_1.pth']


@pytest.mark.parametrize('sample', [SegDataSample, DataSample])
def test_images_are_named(step, sample):
    samples = [sample(metainfo=dict(img_path=f'{index}.png')) for index in range(6)]
    with pytest.raises(FloatingPointError, match=r'of 5 \(images 0\.png, 1\.png, 2\.png, 3\.png and 2 more\)\. '):
        step(math.nan, dict(inputs=[], data_samples=samples))


def test_looks_before_a_checkpoint_is_written():
    priorities = {'VERY_HIGH': 10, 'HIGH': 30, 'ABOVE_NORMAL': 40, 'NORMAL': 50, 'BELOW_NORMAL': 60, 'VERY_LOW': 90}
    assert priorities[FiniteLossHook.priority] < priorities[CheckpointHook.priority]
    assert SameHook is FiniteLossHook

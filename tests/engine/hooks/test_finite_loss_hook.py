import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import CheckpointHook

from mmdmt.engine.hooks import FiniteLossHook
from mmdmt.engine.hooks.finite_loss_hook import FiniteLossHook as SameHook

RUNNER = SimpleNamespace(iter=2, max_iters=5)


@pytest.mark.parametrize('loss', [math.nan, math.inf, -math.inf])
def test_stops_on_a_loss_that_is_not_finite(loss):
    with pytest.raises(FloatingPointError, match=rf'phase 01_train_a: the loss is {loss} at step 3 of 5'):
        FiniteLossHook('01_train_a').after_train_iter(RUNNER, 2, outputs={'loss': torch.tensor(loss)})


def test_goes_on_with_a_finite_loss():
    assert FiniteLossHook('01_train_a').after_train_iter(RUNNER, 2, outputs={'loss': torch.tensor(1e30)}) is None


def test_looks_before_a_checkpoint_is_written():
    priorities = {'VERY_HIGH': 10, 'HIGH': 30, 'ABOVE_NORMAL': 40, 'NORMAL': 50, 'BELOW_NORMAL': 60, 'VERY_LOW': 90}
    assert priorities[FiniteLossHook.priority] < priorities[CheckpointHook.priority]
    assert SameHook is FiniteLossHook

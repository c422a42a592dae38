from types import SimpleNamespace

import pytest
from torch import nn

from mmdmt.engine.hooks import WeightedHook
from mmdmt.errors import UserError
from mmdmt.losses import DynamicMutualLoss


def step(hook, gamma, outputs):
    loss = DynamicMutualLoss(gamma1=gamma, gamma2=gamma)
    hook.after_train_iter(SimpleNamespace(model=nn.Sequential(nn.Linear(1, 1), loss)), 0, outputs=outputs)


def test_first_step_without_weights():
    with pytest.raises(UserError, match=r'^phase 01_train_a: the first step logs no mean_weight'):
        step(WeightedHook('01_train_a'), 5.0, dict(loss=1.0, disagree=0.5))


@pytest.mark.parametrize('key', ['mean_weight', 'student.mean_weight'])
def test_weights_may_be_missing_later(key):
    hook = WeightedHook('01_train_a')
    step(hook, 5.0, {key: 0.5})
    step(hook, 5.0, dict(loss=1.0))


def test_nothing_to_weigh():
    step(WeightedHook('01_train_a'), 0.0, dict(loss=1.0))
    WeightedHook('01_train_a').after_train_iter(SimpleNamespace(model=nn.Linear(1, 1)), 0, outputs=None)

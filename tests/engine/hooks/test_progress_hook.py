from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from mmdmt.engine.hooks import ProgressHook
from mmdmt.engine.hooks.progress_hook import unwrapped
from mmdmt.losses.dynamic_mutual_loss import DynamicMutualLoss


class Ramped(nn.Module):
    def __init__(self):
        super().__init__()
        self.told = []

    def set_progress(self, progress):
        self.told.append(progress)


def tell(model, max_iters):
    for iteration in range(max_iters):
        ProgressHook().before_train_iter(SimpleNamespace(iter=iteration, max_iters=max_iters, model=model), iteration)


def test_progress_goes_from_0_at_the_first_step_to_1_at_the_last_one():
    model = nn.Sequential(nn.Sequential(Ramped()), nn.Linear(1, 1), Ramped())
    tell(model, max_iters=5)
    assert model[0][0].told == model[2].told == [0, 0.25, 0.5, 0.75, 1]


def test_phase_of_one_step():
    model = nn.Sequential(Ramped())
    tell(model, max_iters=1)
    assert model[0].told == [0]


def test_modules_in_a_wrapper_are_told_as_well():
    wrapped = nn.Module()
    wrapped.module = Ramped()
    tell(wrapped, max_iters=2)
    assert wrapped.module.told == [0, 1]


@pytest.mark.parametrize(('ramp', 'gamma'), [(True, 2 * 0.6065306597126334), (False, 2.0)])
def test_gamma_follows(ramp, gamma):
    """Three of five steps are behind: t / T = 1 - sqrt(0.1) gives exp(-0.5)."""
    loss = DynamicMutualLoss(gamma1=2.0, gamma2=2.0, ramp=ramp)
    progress = 1 - 0.1**0.5
    ProgressHook().before_train_iter(SimpleNamespace(iter=progress, max_iters=2, model=nn.Sequential(loss)), 0)
    logits = torch.tensor([[0.8, 0.2]]).log()
    decision = loss.weigh(logits, torch.tensor([0]), torch.tensor([0.5]))
    assert decision.weight.item() == pytest.approx(0.8**gamma, rel=1e-6)


class Counting(nn.Linear):
    def __init__(self):
        super().__init__(1, 1)
        self.steps = 0

    def after_step(self):
        self.steps += 1


def step(optim_wrapper, model, times):
    runner = SimpleNamespace(model=model, optim_wrapper=optim_wrapper)
    for iteration in range(times):
        if not isinstance(optim_wrapper, OptimWrapperDict):
            optim_wrapper.update_params(model(torch.ones(1, 1)).sum())
        ProgressHook().after_train_iter(runner, iteration)


@pytest.mark.parametrize(('accumulative_counts', 'steps'), [(1, 6), (3, 2)])
def test_the_model_is_told_of_each_step_of_the_optimizer(accumulative_counts, steps):
    model = Counting()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), 0.1), accumulative_counts=accumulative_counts)
    wrapper.initialize_count_status(model, 0, 6)
    step(wrapper, model, 6)
    assert model.steps == steps


def test_a_stock_model_and_several_optimizers():
    stock, model = nn.Linear(1, 1), Counting()
    step(OptimWrapper(torch.optim.SGD(stock.parameters(), 0.1)), stock, 1)
    step(OptimWrapperDict(one=OptimWrapper(torch.optim.SGD(model.parameters(), 0.1))), model, 2)
    assert model.steps == 2
    assert unwrapped(model) is model

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.runner import IterBasedTrainLoop

from mmdmt.engine.hooks import StepSeedHook, step_seed_hook


def draws(seed=1, step=0):
    StepSeedHook(seed).before_train_iter(SimpleNamespace(iter=step), step)
    return random.random(), float(np.random.rand()), torch.rand(1).item(), torch.nn.functional.dropout(torch.ones(99))


def same(first, second):
    return [torch.equal(torch.as_tensor(one), torch.as_tensor(two)) for one, two in zip(first, second, strict=True)]


def test_what_a_step_draws_depends_on_seed_step_and_rank(monkeypatch):
    first = draws()
    random.random(), np.random.rand(7), torch.rand(7)
    assert all(same(first, draws()))
    assert not any(same(first, draws(step=1)))
    assert not any(same(first, draws(seed=2)))
    monkeypatch.setattr(step_seed_hook, 'get_rank', lambda: 1)
    assert not any(same(first, draws()))


def test_phase_does_not_depend_on_what_was_drawn_before(train, monkeypatch):
    """Though something draws between its steps, it ends with the same weights."""
    ends = []
    for disturbed in (False, True):
        run_iter = IterBasedTrainLoop.run_iter

        def disturb(self, data_batch, run_iter=run_iter, disturbed=disturbed):
            run_iter(self, data_batch)
            if disturbed:
                random.random(), np.random.rand(), torch.rand(1)

        with monkeypatch.context() as patch:
            patch.setattr(IterBasedTrainLoop, 'run_iter', disturb)
            runner = train({}, folder=f'disturbed_{disturbed}')
        ends.append(torch.load(runner.work_dir / 'best.pth', weights_only=False)['state_dict'])
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_generators_of_gpus_are_seeded():
    values = []
    for _ in range(2):
        draws()
        values.append(torch.rand(1, device='cuda').item())
    assert values[0] == values[1]

"""Training steps of a GPU must not wait for it: no value of a tensor is read by Python, and no shape depends on one.

A profile on the CPU shows the operations that would wait. Those of the stock step are allowed.
"""

from collections import Counter

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from mmdmt.analysis.step_cost import PASSES, read_steps

WAITING = {
    'aten::item', 'aten::_local_scalar_dense', 'aten::is_nonzero', 'aten::nonzero', 'aten::masked_select',
    'aten::equal', 'aten::_unique2', 'aten::unique_dim', 'aten::bincount',
}  # fmt: skip
MOVING = ('cpu', 'numpy', 'tolist', 'item', '__bool__', '__int__', '__float__')
"""Methods of tensors that read values; on a CPU, some of them leave no trace in a profile."""


def counting(found, name):
    method = getattr(torch.Tensor, name)

    def counted(*args, **kwargs):
        found[name] += 1
        return method(*args, **kwargs)

    return counted


def waits(step, monkeypatch):
    """Number of operations of a step that would wait for a GPU, by name."""
    found = Counter()
    step()  # the first one makes the state of the optimizer
    with monkeypatch.context() as patch:
        for name in MOVING:
            patch.setattr(torch.Tensor, name, counting(found, name))
        with profile(activities=[ProfilerActivity.CPU]) as trace:
            step()
    for event in trace.key_averages():
        if event.key in WAITING:
            found[event.key] += event.count
    return found


def test_what_waits_is_found(monkeypatch):
    value = torch.ones(3)

    def step():
        if value.sum() > 2:
            value[value > 0].tolist()
        value.max().item()

    found = waits(step, monkeypatch)
    assert found['aten::nonzero'] == found['tolist'] == found['item'] == found['__bool__'] == 1
    assert found['aten::item'] == 2


@pytest.mark.parametrize(
    ('name', 'mixup'), [('dmt/fcn_digits.py', None), ('dmt/wrn10-1_digits.py', 0.75)], ids=['pixels', 'images']
)
def test_a_step_of_dmt_waits_no_more_than_a_stock_step(root, tmp_path, monkeypatch, name, mixup):
    steps = read_steps(root / 'configs' / name, torch.device('cpu'), tmp_path, 2, 2, mixup=mixup)
    assert waits(steps.own, monkeypatch) - waits(steps.all, monkeypatch) == Counter()


@pytest.mark.parametrize('name', [name for name in PASSES if not name.startswith('dmt/')])
def test_a_step_of_a_method_waits_no_more_than_stock_steps(root, tmp_path, monkeypatch, name):
    """Only what is read where no stock step reads counts; optimizers and data preprocessors read values of the CPU."""
    steps = read_steps(root / 'configs' / name, torch.device('cpu'), tmp_path, 4, 4)
    networks = 2 if 'cross_pseudo' in name else 1
    found = {key: waits(step, monkeypatch) for key, step in (('own', steps.own), ('stock', steps.all))}
    assert found['own']['aten::nonzero'] <= networks * found['stock']['aten::nonzero']
    for key in ('tolist', 'numpy', 'cpu', '__int__', '__float__', 'aten::masked_select', 'aten::_unique2'):
        assert found['own'][key] <= networks * found['stock'][key], key

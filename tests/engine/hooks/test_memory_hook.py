import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import LoggerHook
from mmengine.logging import MessageHub
from mmengine.runner import get_priority

from mmdmt.engine import DMTRunner
from mmdmt.engine.hooks import DMTHook
from mmdmt.engine.hooks.memory_hook import GPU_MEMORY, MemoryHook
from tests.steps import SELF_TAUGHT


class Card:
    """Peak of a GPU's memory since the last reset."""

    def __init__(self, monkeypatch):
        self.peak = 0
        monkeypatch.setattr(torch.cuda, 'max_memory_allocated', lambda: self.peak * 2**20)
        monkeypatch.setattr(torch.cuda, 'reset_peak_memory_stats', self.reset)

    def reset(self):
        self.peak = 0

    def use(self, memory):
        self.peak = max(self.peak, memory)


def test_peak_of_the_steps_after_the_search_for_kernels(monkeypatch):
    """The log, every fifth step here, sets the peak back."""
    card, hook, runner = Card(monkeypatch), MemoryHook(), SimpleNamespace(message_hub=MessageHub('memory'))
    runner.message_hub.runtime_info.clear()
    for step in range(1, 41):
        card.use({1: 60_000, 27: 3500}.get(step, 3000))
        hook.after_train_iter(runner, batch_idx=step)
        if step % 5 == 0:
            card.reset()
    assert runner.message_hub.get_info(GPU_MEMORY) == 3500


def test_peak_goes_on_after_a_resume(monkeypatch):
    card, runner = Card(monkeypatch), SimpleNamespace(message_hub=MessageHub('memory_resumed'))
    runner.message_hub.update_info(GPU_MEMORY, 4000)
    hook = MemoryHook()
    for step in range(10):
        card.use(3000)
        hook.after_train_iter(runner, batch_idx=step)
    assert runner.message_hub.get_info(GPU_MEMORY) == 4000


def test_it_looks_before_the_log():
    assert get_priority(MemoryHook.priority) < get_priority(LoggerHook.priority)


@pytest.mark.parametrize(('noted', 'expected'), [(None, 7), (3500, 3500)])
def test_record_of_a_phase(tiny_config, tmp_path, monkeypatch, noted, expected):
    """A phase of fewer than ten steps has the peak at its end."""
    runner = DMTRunner(tiny_config(tmp_path, SELF_TAUGHT))
    card = SimpleNamespace(is_available=lambda: True, max_memory_allocated=lambda: 7 * 2**20)
    monkeypatch.setattr('mmdmt.engine.hooks.dmt_hook.torch', SimpleNamespace(cuda=card))
    if noted:
        monkeypatch.setattr(
            DMTHook, 'before_train', lambda _, runner: runner.message_hub.update_info(GPU_MEMORY, noted), raising=False
        )
    runner.train(phase='00_train_a')
    assert json.loads((tmp_path / '00_train_a/phase.json').read_text())[GPU_MEMORY] == expected

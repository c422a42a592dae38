from types import SimpleNamespace

import pytest

from mmdmt.engine.hooks import pace_hook
from mmdmt.engine.hooks.pace_hook import PaceHook


@pytest.fixture
def clock(monkeypatch):
    now = [50.0]
    monkeypatch.setattr(pace_hook.time, 'perf_counter', lambda: now[0])
    monkeypatch.setattr(pace_hook, 'is_cuda_available', lambda: False)
    return now


class Loader:
    """Its next batch of 4 images takes some seconds."""

    batch_size = 4

    def __init__(self, clock, seconds):
        self.clock, self.seconds = clock, seconds

    def __iter__(self):
        self.clock[0] += self.seconds
        yield 'another batch'


def train(hook, clock, seconds=20.0, loading=(6.0, 6.0), **runner):
    hook.before_train_epoch(None)
    clock[0] += loading[0]
    hook.before_train_iter(None, 0)
    clock[0] += seconds
    hook.after_train_iter(SimpleNamespace(train_dataloader=Loader(clock, loading[1]), **runner), 0, 'batch')


@pytest.mark.parametrize(('workers', 'expected'), [(0, 80 / 4), (2, 30 / 4), (4, 20 / 4)])
def test_step(clock, workers, expected):
    """Workers load the next batches while a step computes: it waits for them if there are too few."""
    hook = PaceHook(workers)
    train(hook, clock, loading=(60.0, 60.0))
    assert (hook.work, hook.validation) == (expected, None)


@pytest.mark.parametrize(('first', 'second', 'counts'), [(6, 1, 1), (6, 7, 6), (10, 1, 10)])
def test_first_loading_does_not_count_unless_it_takes_long(clock, first, second, counts):
    hook = PaceHook()
    train(hook, clock, loading=(first, second))
    assert hook.work == (20 + counts) / 4


@pytest.mark.parametrize(('fails', 'expected'), [(False, 0.5 / 4), (True, 20 / 4)])
def test_first_step_on_a_gpu_does_not_count(clock, monkeypatch, fails, expected):
    monkeypatch.setattr(pace_hook, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(pace_hook.torch.cuda, 'synchronize', lambda: None)

    def step(batch, optim_wrapper):
        assert (batch, optim_wrapper) == ('batch', 'wrapper')
        clock[0] += 0.5
        if fails:
            raise RuntimeError

    hook = PaceHook(100)
    train(hook, clock, model=SimpleNamespace(train_step=step), optim_wrapper='wrapper')
    assert hook.work == expected


@pytest.mark.parametrize(('seconds', 'expected'), [(9.0, 0.5 / 4), (11.0, 11.0 / 4)])
def test_quick_step_is_measured_again(clock, seconds, expected):
    def step(batch, optim_wrapper):
        clock[0] += 0.5

    hook = PaceHook(100)
    train(hook, clock, seconds, model=SimpleNamespace(train_step=step), optim_wrapper='wrapper')
    assert hook.work == pytest.approx(expected)


def test_images(clock):
    """3 images in batches of 2: the first batch counts only if there is no other."""
    loader = SimpleNamespace(dataset=range(3), batch_size=2)
    hook, runner = PaceHook(), SimpleNamespace(val_dataloader=loader, test_dataloader=loader)
    hook.before_val_epoch(runner)
    for batch, seconds in enumerate((30.0, 3.0)):
        clock[0] += seconds
        hook.after_val_iter(runner, batch)
    hook.before_test_epoch(runner)
    clock[0] += 1.0
    hook.after_test_iter(runner, 0)
    assert (hook.validation, hook.work) == (3.0, 0.5)

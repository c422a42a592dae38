from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmdmt.engine.hooks import screen_hook
from mmdmt.engine.hooks.screen_hook import ScreenHook
from mmdmt.engine.screen import Screen
from mmdmt.engine.time_left import TimeLeft


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(screen_hook.time, 'perf_counter', lambda: now[0])
    return now


class Lines(Screen):
    """A screen that shows each state, as a list."""

    def __init__(self):
        self.begun, self.shown, self.ended = [], [], 0

    def begin(self, title, total, unit):
        self.begun.append((title, total, unit))

    def due(self, done):
        return True

    def show(self, done, facts):
        self.shown.append([done, *facts])

    def end(self):
        self.ended += 1


class Runner(SimpleNamespace):
    def __init__(self, **kwargs):
        self.lines = []
        logger = SimpleNamespace(info=self.lines.append)
        cfg = Config(dict(default_hooks=dict(logger=dict(interval=2))))
        super().__init__(logger=logger, cfg=cfg, **kwargs)


def loader(images, batch_size, left=None):
    return SimpleNamespace(dataset=range(images), sampler=range(images if left is None else left),
                           batch_size=batch_size, __len__=lambda: 3)  # fmt: skip


def train(hook, runner, clock, steps, seconds):
    hook.before_train(runner)
    for step in range(runner.iter, steps):
        runner.iter = step
        clock[0] += seconds
        hook.after_train_iter(runner, step, outputs=dict(loss=torch.tensor(0.25)))


def test_train_phase(clock):
    screen = Lines()
    hook = ScreenHook(screen, '3/10 01_train_a', TimeLeft('semi', dict(semi=20, label=24), batch_size=4))
    runner = Runner(iter=0, max_iters=6)
    train(hook, runner, clock, steps=4, seconds=3.0)
    # 3 s a step: after step 4, 2 steps of this phase, 20 later ones; an image costs a third of a fourth of a step.
    assert screen.begun == [('3/10 01_train_a', 6, 'steps')]
    assert screen.shown[3][:4] == [4, 'loss 0.25', '0:00:06 of 0:01:12 left', '0.333 steps/s']
    assert screen.shown[3][4].endswith(' GiB')
    assert float(screen.shown[3][4].split()[0]) > 0
    assert len(runner.lines) == 2  # every second step
    assert runner.lines[1] == 'DMT phase 3/10 01_train_a; time left: 0:00:06 of 0:01:12 for the whole plan'
    hook.after_run(runner)
    assert screen.ended == 1


def test_resumed_phase_is_timed_from_where_it_goes_on(clock):
    hook = ScreenHook(Screen(), '1/1 01_train_a', TimeLeft('semi'))
    runner = Runner(iter=2, max_iters=6)
    train(hook, runner, clock, steps=4, seconds=10.0)
    assert runner.lines == ['DMT phase 1/1 01_train_a; time left: 0:00:20 of 0:00:20 for the whole plan']


def test_label_phase(clock):
    screen = Lines()
    hook = ScreenHook(screen, '2/10 01_label_a', TimeLeft('label', dict(semi=10), dict(semi=2.0)))
    runner = Runner(iter=0, max_iters=0, test_dataloader=loader(9, 2))
    clock[0] += 1000.0  # until the images are there
    hook.before_test(runner)
    for batch in range(5):
        clock[0] += 4.0
        hook.after_test_iter(runner, batch)
    assert screen.begun == [('2/10 01_label_a', 9, 'images')]
    assert [state[0] for state in screen.shown] == [2, 4, 6, 8, 9]
    # 2 s an image, of which 5 are left; 10 steps of 2 s
    assert screen.shown[1][1:3] == ['0:00:10 of 0:00:30 left', '0.5 images/s']
    assert runner.lines[0] == 'DMT phase 2/10 01_label_a; time left: 0:00:10 of 0:00:30 for the whole plan'


def test_label_phase_that_goes_on(clock, monkeypatch):
    """6 of 10 images were labeled before; 2 processes label one each at a time."""
    monkeypatch.setattr(screen_hook, 'get_world_size', lambda: 2)
    screen = Lines()
    hook, runner = ScreenHook(screen, 'x'), Runner(test_dataloader=loader(10, 1, left=2))
    hook.before_test(runner)
    clock[0] += 4.0
    hook.after_test_iter(runner, 0)
    assert screen.shown[0][:3] == [8, '0:00:04 left', '0.5 images/s']


def test_validation_in_training(clock):
    screen = Lines()
    runner = Runner(iter=0, max_iters=6, val_dataloader=[0, 1, 2])
    hook = ScreenHook(screen, '1/1 00_train_a')
    train(hook, runner, clock, steps=2, seconds=1.0)
    hook.before_val(runner)
    hook.after_val_iter(runner, 1)
    assert screen.shown[-1] == [1, 'validation 2/3']
    assert len(screen.begun) == 1


def test_validation_alone(clock):
    screen = Lines()
    hook, runner = ScreenHook(screen, 'val'), Runner(val_dataloader=loader(4, 2))
    hook.before_val(runner)
    clock[0] += 1.0
    hook.after_val_iter(runner, 0)
    assert screen.begun == [('val', 4, 'images')]
    assert screen.shown[0][:3] == [2, '0:00:01 left', '2 images/s']
    assert runner.lines == []  # no plan


def test_nothing_is_computed_for_nobody(clock):
    """A loss on a GPU is not waited for."""

    class Loss:
        def __array__(self, *_):
            raise AssertionError

    hook, runner = ScreenHook(Screen(), 'x'), Runner(iter=0, max_iters=6)
    hook.before_train(runner)
    hook.after_train_iter(runner, 0, outputs=dict(loss=Loss()))
    assert runner.lines == []

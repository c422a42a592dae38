from types import SimpleNamespace

import pytest
from mmengine.config import Config

from mmdmt.engine.hooks import TimeLeftHook, time_left_hook


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time_left_hook.time, 'perf_counter', lambda: now[0])
    return now


class Runner(SimpleNamespace):
    def __init__(self, **kwargs):
        self.lines = []
        logger = SimpleNamespace(info=self.lines.append)
        cfg = Config(dict(default_hooks=dict(logger=dict(interval=2)), train_dataloader=dict(batch_size=4)))
        super().__init__(logger=logger, cfg=cfg, **kwargs)


def train(hook, runner, clock, steps, seconds):
    hook.before_train(runner)
    for step in range(runner.iter, steps):
        runner.iter = step
        clock[0] += seconds
        hook.after_train_iter(runner, step)


def test_train_phase(clock):
    hook = TimeLeftHook('01_train_a', position=(3, 10), later_steps=20, later_images=24)
    runner = Runner(iter=0, max_iters=6)
    train(hook, runner, clock, steps=4, seconds=3.0)
    # 3 s a step: after step 4, 2 steps of this phase, 20 later ones; an image costs a third of a fourth of a step.
    left = 2 * 3 + 20 * 3 + 24 * 3 / 12
    assert len(runner.lines) == 2  # every second step
    assert (
        runner.lines[1] == f'DMT phase 3 of 10 (01_train_a); time left for the whole plan: about 0:01:{left - 60:02.0f}'
    )


def test_resumed_phase_is_timed_from_where_it_goes_on(clock):
    hook = TimeLeftHook('01_train_a', position=(1, 1))
    runner = Runner(iter=2, max_iters=6)
    train(hook, runner, clock, steps=4, seconds=10.0)
    assert runner.lines == ['DMT phase 1 of 1 (01_train_a); time left for the whole plan: about 0:00:20']


def test_measured_seconds_of_labels_go_before_the_estimate(clock):
    hook = TimeLeftHook('01_train_a', position=(1, 3), later_images=24, image_seconds=0.5)
    runner = Runner(iter=0, max_iters=2)
    train(hook, runner, clock, steps=2, seconds=3.0)
    assert runner.lines[-1].endswith('about 0:00:12')


def test_label_phase(clock):
    hook = TimeLeftHook('01_label_a', position=(2, 10), later_steps=10, step_seconds=2.0)
    runner = Runner(iter=0, max_iters=0, test_dataloader=range(5))
    clock[0] += 1000.0  # until the images are there
    hook.before_test(runner)
    for batch in range(2):
        clock[0] += 4.0
        hook.after_test_iter(runner, batch)
    # 4 s a batch, of which 3 are left; 10 steps of 2 s
    assert runner.lines == ['DMT phase 2 of 10 (01_label_a); time left for the whole plan: about 0:00:32']

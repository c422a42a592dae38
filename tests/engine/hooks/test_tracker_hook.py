from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.logging import HistoryBuffer

from mmdmt.engine.hooks.tracker_hook import TrackerHook


@pytest.fixture
def sent():
    """``sent.hook`` sends to ``sent.lines``."""
    lines = []
    tracker = SimpleNamespace(scalars=lambda figures, step: lines.append((step, figures)))
    return SimpleNamespace(hook=TrackerHook(tracker, 'b', offset=400), lines=lines)


def test_training(sent):
    history = {'train/loss': HistoryBuffer(), 'train/lr': HistoryBuffer(), 'val/mIoU': HistoryBuffer([9.0], [1])}
    cfg = Config(dict(default_hooks=dict(logger=dict(interval=2))))
    for step in range(5):
        history['train/loss'].update(float(step))
        history['train/lr'].update(0.1 * step)
        runner = SimpleNamespace(iter=step, cfg=cfg, message_hub=SimpleNamespace(log_scalars=history))
        sent.hook.after_train_iter(runner, step)
    assert [step for step, _ in sent.lines] == [402, 404]
    assert sent.lines[1][1] == {'b/train/loss': 2.5, 'b/train/lr': pytest.approx(0.3)}


@pytest.mark.parametrize('name', ['train/mean_weight', 'train/student.mean_weight'])
def test_what_means_nothing_is_left_out(sent, name):
    sent.hook.without = ('mean_weight',)
    history = {name: HistoryBuffer([0.0], [1]), 'train/loss': HistoryBuffer([1.0], [1])}
    runner = SimpleNamespace(iter=49, cfg=Config({}), message_hub=SimpleNamespace(log_scalars=history))
    sent.hook.after_train_iter(runner, 49)
    assert sent.lines == [(450, {'b/train/loss': 1.0})]


def test_validation_and_labels(sent):
    sent.hook.after_val_epoch(SimpleNamespace(iter=100), {'mIoU': 51.5, 'accuracy/top1': 90.0})
    sent.hook.after_test_epoch(SimpleNamespace(), {'pseudo_label/coverage': 0.2})
    assert sent.lines == [(500, {'b/val/mIoU': 51.5, 'b/val/accuracy/top1': 90.0}), (400, {'b/label/coverage': 0.2})]

from types import SimpleNamespace

import numpy as np

from mmdmt.engine.hooks.result_hook import ResultHook, as_line
from mmdmt.engine.screen import Screen


class Said(Screen):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def test_results_are_lines():
    screen = Said()
    hook, runner = ResultHook(screen), SimpleNamespace(iter=20, max_iters=400)
    hook.after_test_epoch(runner, {'accuracy/top1': 91.25, 'accuracy/fine_grained': np.float32(91.2), 'n': 3})
    hook.after_val_epoch(runner, dict(mIoU=7.28))
    hook.before_train(runner)
    hook.after_val_epoch(runner, dict(mIoU=7.28))
    assert screen.lines == [
        'accuracy/top1: 91.2500  accuracy/fine_grained: 91.2000  n: 3',
        'mIoU: 7.2800',
        'step 20 of 400: mIoU: 7.2800',
    ]


def test_no_metrics():
    assert as_line({}) == ''

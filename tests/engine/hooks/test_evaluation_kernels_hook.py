import os

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from mmseg.registry import MODELS as SEG_MODELS

from mmdmt.engine import DMTRunner
from mmdmt.engine.screen_runner import run_alone
from tests.steps import SELF_TAUGHT


def nondeterministic():
    """An operation that torch refuses in deterministic mode, also on a CPU."""
    torch.zeros(4).put_(torch.tensor([1]), torch.ones(1))


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    """Deterministic modes and the environment as they were."""
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', 'x')
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG')
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before


@pytest.fixture
def counting():
    """A metric that computes so."""

    @METRICS.register_module(name='Counting', force=True)
    class Counting(BaseMetric):
        def process(self, data_batch, data_samples):
            nondeterministic()
            self.results.append(1)

        def compute_metrics(self, results):
            return {'counted': len(results)}

    yield [dict(type='IoUMetric', iou_metrics=['mIoU']), dict(type='Counting')]
    METRICS.module_dict.pop('Counting')


def test_the_operation_is_refused():
    torch.use_deterministic_algorithms(True)
    with pytest.raises(RuntimeError, match='deterministic'):
        nondeterministic()


def test_a_deterministic_run_validates_and_tests(tiny_config, tmp_path, counting):
    cfg = tiny_config(tmp_path, {**SELF_TAUGHT, 'randomness': dict(seed=1, deterministic=True)})
    cfg.val_evaluator = cfg.test_evaluator = counting
    runner = DMTRunner(cfg)
    runner.train()
    assert runner.val()['counted'] > 0
    assert runner.test()['counted'] > 0
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert os.environ['CUBLAS_WORKSPACE_CONFIG'] == ':4096:8'


def test_training_stays_strict(ordinary, monkeypatch):
    """After a validation, too."""
    ordinary.randomness = dict(seed=1, deterministic=True)
    ordinary.train_cfg.val_interval = 2
    model = SEG_MODELS.get('EncoderDecoder')
    loss, steps = model.loss, []

    def third_step_refused(self, *args, **kwargs):
        steps.append(1)
        if len(steps) == 3:
            nondeterministic()
        return loss(self, *args, **kwargs)

    monkeypatch.setattr(model, 'loss', third_step_refused)
    with pytest.raises(RuntimeError, match='deterministic'):
        run_alone(ordinary, 'train')
    assert len(steps) == 3

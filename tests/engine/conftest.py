import copy
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import IterBasedTrainLoop, TestLoop
from mmseg.models import EncoderDecoder

from mmdmt.engine import DMTRunner, PhaseLoop
from mmdmt.losses import DynamicMutualLoss
from tests.steps import SELF_TAUGHT


@pytest.fixture
def train(tiny_config, tmp_path):
    """``train(options)``: a complete run of ``SELF_TAUGHT`` with options; its runner."""

    def run(options, change=lambda cfg: None, folder='run'):
        cfg = tiny_config(tmp_path / folder, {**SELF_TAUGHT, **options})
        change(cfg)
        runner = DMTRunner(cfg)
        runner.train()
        return runner

    return run


@pytest.fixture
def ordinary(tiny_config, tmp_path):
    """Config of a stock training, of 4 steps with a validation."""
    cfg = tiny_config(tmp_path / 'run', SELF_TAUGHT)
    for key in ('runner_type', 'dmt'):
        cfg.pop(key)
    cfg.model = dict(cfg.model, type='EncoderDecoder')
    cfg.model.decode_head.loss_decode = dict(type='CrossEntropyLoss')
    cfg.train_dataloader.dataset.indices = 4
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=4, val_interval=4)
    cfg.experiment_name = tmp_path.name  # mmengine finds the logger of another test of the same second by it
    return cfg


@pytest.fixture
def calls(monkeypatch):
    """What the runs to come compute: each call of a dynamic loss and of what follows it in a step, by phase."""
    seen = SimpleNamespace(phase=None, losses=defaultdict(list), starts={}, states=defaultdict(list), steps=[], log=[])
    forward, loss = DynamicMutualLoss.forward, EncoderDecoder.loss

    def record_forward(self, cls_score, label, weight=None, reduction_override=None, **kwargs):
        confidence = self._batch.confidence if self._batch else None
        value = forward(self, cls_score, label, weight, reduction_override=reduction_override, **kwargs)
        seen.losses[seen.phase].append(
            SimpleNamespace(
                logits=cls_score.detach().clone(), label=label, confidence=confidence,
                weight=weight, value=value.detach(), reduction=reduction_override,
                autocast=torch.is_autocast_cpu_enabled(), statistics=self.statistics,
            )
        )  # fmt: skip
        return value

    def record_loss(self, inputs, data_samples):
        losses = loss(self, inputs, data_samples)
        seen.log.append({key: value.detach().clone() for key, value in losses.items() if 'loss' in key})
        return losses

    def record_start(cls):
        run = cls.run

        def start(self):
            seen.phase = Path(self.runner.work_dir).name
            seen.starts[seen.phase] = copy.deepcopy(self.runner.model.state_dict())
            return run(self)

        monkeypatch.setattr(cls, 'run', start)

    run_iter, step = IterBasedTrainLoop.run_iter, torch.optim.SGD.step

    def record_iter(self, data_batch):
        run_iter(self, data_batch)
        seen.states[seen.phase].append(copy.deepcopy(self.runner.model.state_dict()))

    def record_step(self, *args, **kwargs):
        seen.steps.append(seen.phase)
        return step(self, *args, **kwargs)

    record_start(PhaseLoop)
    record_start(TestLoop)
    monkeypatch.setattr(DynamicMutualLoss, 'forward', record_forward)
    monkeypatch.setattr(EncoderDecoder, 'loss', record_loss)
    monkeypatch.setattr(IterBasedTrainLoop, 'run_iter', record_iter)
    monkeypatch.setattr(torch.optim.SGD, 'step', record_step)
    return seen

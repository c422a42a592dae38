"""Mixed precision in the phases of a DMT run."""

import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import IterBasedTrainLoop

from mmdmt.core.confidence import encode
from mmdmt.engine import DMTRunner, PseudoLabelWriter, amp
from mmdmt.engine.amp import CPUAmpOptimWrapper, enable_amp
from mmdmt.labels.store import sample_name
from tests.steps import SELF_TAUGHT, by_hand, checkpoint, pseudo_labeled


def test_amp(train, calls, monkeypatch):
    """On a CPU phases train in bfloat16; weights, losses, and the confidences of the teacher are float32."""
    labeled, process = [], PseudoLabelWriter.process

    def record(self, data_batch, data_samples):
        labeled.append((data_samples[0]['seg_logits']['data'].dtype, torch.is_autocast_cpu_enabled()))
        process(self, data_batch, data_samples)

    monkeypatch.setattr(PseudoLabelWriter, 'process', record)
    runner = train({}, enable_amp)
    assert labeled == [(torch.float32, False)] * 6
    for phase in ('00_train_a', '01_train_a'):
        for call in calls.losses[phase]:
            assert call.autocast
            assert call.logits.dtype == torch.bfloat16
            assert call.value.dtype == torch.float32
        assert {value.dtype for value in checkpoint(runner, phase)['state_dict'].values()} == {
            torch.float32,
            torch.int64,
        }
        total, divisor = by_hand(call)
        # In bfloat16 it would be off by up to 1e-2.
        assert call.value.item() == pytest.approx(total / divisor, rel=1e-5)
    assert pseudo_labeled(call) > 1000
    assert {value.dtype for value in call.statistics} == {torch.float32}


def test_interrupted_amp(tiny_config, tmp_path, calls, monkeypatch):
    """A run resumed with --amp goes on in bfloat16; one resumed without is refused by the key that differs."""

    def config(resume, mixed_precision=True):
        cfg = tiny_config(tmp_path, {**SELF_TAUGHT, 'resume': resume})
        if mixed_precision:
            enable_amp(cfg)
        return cfg

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        run_iter = IterBasedTrainLoop.run_iter

        def interrupted(self, data_batch):
            if self.iter == 2:
                raise KeyboardInterrupt
            run_iter(self, data_batch)

        patch.setattr(IterBasedTrainLoop, 'run_iter', interrupted)
        DMTRunner(config(resume=False)).train()
    with pytest.raises(ValueError, match=r"optim_wrapper\.type: 'AmpOptimWrapper' -> 'OptimWrapper'"):
        DMTRunner(config(resume=True, mixed_precision=False)).train()
    calls.losses.clear()
    DMTRunner(config(resume=True)).train(phase='00_train_a')
    assert [call.autocast for call in calls.losses['00_train_a']] == [True, True]
    log = '\n'.join(path.read_text() for path in (tmp_path / '00_train_a').glob('*/*.log'))
    assert 'resumed epoch: 0, iter: 2' in log


LAYERS = {
    'optim_wrapper': dict(type='OptimWrapper', accumulative_counts=2),
    'dmt': dict(
        supervised=dict(iters=1, optim_wrapper=dict(optimizer=dict(lr=1.0))),
        models=dict(
            a=dict(optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD'))),
            b=dict(semi=dict(optim_wrapper=dict(_delete_=True, optimizer=dict(type='AdamW')))),
        ),
    ),
}


@pytest.mark.parametrize(('accelerated', 'expected'), [(True, 'AmpOptimWrapper'), (False, 'CPUAmpOptimWrapper')])
def test_amp_in_all_layers(monkeypatch, accelerated, expected):
    monkeypatch.setattr(amp, 'is_cuda_available', lambda: accelerated)
    cfg = Config(copy.deepcopy(LAYERS))
    enable_amp(cfg)
    enable_amp(cfg)  # also where it is on already
    assert cfg.optim_wrapper == dict(type=expected, accumulative_counts=2)
    assert cfg.dmt.supervised.optim_wrapper == dict(type=expected, optimizer=dict(lr=1.0))
    assert cfg.dmt.models.a.optim_wrapper == dict(type=expected, optimizer=dict(type='SGD'))
    assert cfg.dmt.models.b.semi.optim_wrapper == dict(_delete_=True, type=expected, optimizer=dict(type='AdamW'))


def test_amp_with_optimizers_of_single_models(tiny_config, tmp_path, calls):
    """A model whose optim_wrapper names its type, in either kind of phase, is trained in mixed precision too."""
    own = dict(type='OptimWrapper', optimizer=dict(lr=0.01), clip_grad=dict(max_norm=1.0))
    cfg = tiny_config(tmp_path, {
        'dmt.label_ratios': (1.0,),
        'dmt.models.a': dict(optim_wrapper=own),
        'dmt.models.b': dict(semi=dict(optim_wrapper=own)),
    })  # fmt: skip
    enable_amp(cfg)
    DMTRunner(cfg).train()
    assert {phase for phase, losses in calls.losses.items() if all(call.autocast for call in losses)} == {
        '00_train_a', '00_train_b', '01_train_a', '01_train_b'
    }  # fmt: skip


def test_amp_refuses_other_wrappers():
    cfg = Config(copy.deepcopy(LAYERS))
    cfg.dmt.models.a.optim_wrapper.type = 'ApexOptimWrapper'
    with pytest.raises(
        ValueError, match=r"--amp needs dmt\.models\.a\.optim_wrapper\.type to be .* 'ApexOptimWrapper'"
    ):
        enable_amp(cfg)


def test_cpu_wrapper():
    """A config of mmengine's wrapper serves; float16 has no loss scale here and is refused."""
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1.0)
    config = dict(type='CPUAmpOptimWrapper', optimizer=optimizer, loss_scale='dynamic', dtype='bfloat16')
    assert type(OPTIM_WRAPPERS.build(config)) is CPUAmpOptimWrapper
    with pytest.raises(ValueError, match=r"optim_wrapper\.dtype='float16' is not supported on a CPU: use bfloat16"):
        CPUAmpOptimWrapper(optimizer=optimizer, dtype='float16')


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_gpu_wrapper_is_that_of_mmengine():
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper')))
    enable_amp(cfg)
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).cuda().parameters(), lr=1.0)
    wrapper = OPTIM_WRAPPERS.build(dict(cfg.optim_wrapper, optimizer=optimizer))
    assert type(wrapper) is AmpOptimWrapper
    assert wrapper.loss_scaler.get_growth_interval() == 2000


def test_labels_in_mixed_precision(train, monkeypatch):
    """By option the teacher computes in bfloat16; confidences are computed from its logits in float32."""
    seen, process = [], PseudoLabelWriter.process

    def record(self, data_batch, data_samples):
        process(self, data_batch, data_samples)
        self.background.finish()
        (sample,) = data_samples
        logits = sample['seg_logits']['data']
        name = sample_name(sample['sample_idx'], sample['img_path'])
        _, code = encode(logits[None].double().float())
        seen.append((logits.dtype, np.array_equal(self.store.read(name)[1], code[0].numpy())))

    monkeypatch.setattr(PseudoLabelWriter, 'process', record)
    runner = train({'dmt.label_amp': True})
    assert seen == [(torch.bfloat16, True)] * 6
    assert runner.manifest.record('01_label_a')['coverage'] == pytest.approx(0.5, abs=0.1)

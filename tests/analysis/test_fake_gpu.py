"""Losses on a GPU that is not there: torch's fake tensors have a device and no values, and refuse to mix devices."""

import os
import traceback
from pathlib import Path

import pytest
import torch
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import MODELS
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

import mmdmt
from mmdmt.analysis import config_cost, step_cost
from mmdmt.analysis.config_cost import FULL_SIZE
from mmdmt.analysis.measuring import Meter
from mmdmt.analysis.step_cost import PASSES, read_steps
from mmdmt.config_dicts import copy_config
from mmdmt.methods.base import View

GPU = torch.device('cuda', 0)


@pytest.fixture
def compute(monkeypatch):
    """``compute(model, batch)``: losses of a network, if it and the batch were on a GPU."""
    monkeypatch.setattr('mmseg.models.decode_heads.decode_head.accuracy', lambda *_, **__: 0.0)
    monkeypatch.setattr(torch.Tensor, 'item', lambda _: 1)
    monkeypatch.setattr(torch.Tensor, '__bool__', lambda _: True)
    # Backward passes need a real device.
    monkeypatch.setattr(
        torch.autograd, 'grad', lambda _, inputs, **__: [torch.zeros_like(value) for value in as_list(inputs)]
    )

    def found(model, batch):
        network = MODELS.build(copy_config(model)).train()
        with FakeTensorMode(allow_non_fake_inputs=True):
            for module in network.modules():
                if isinstance(module, BaseDataPreprocessor):
                    module._device = GPU
                for name, value in module._parameters.items():
                    module._parameters[name] = None if value is None else torch.nn.Parameter(value.detach().to(GPU))
                module._buffers.update({
                    name: None if value is None else value.to(GPU) for name, value in module._buffers.items()
                })  # fmt: skip
            data = network.data_preprocessor(batch, training=True)
            with NothingWaits():
                return network(**data, mode='loss')

    def tried(model, batch):
        try:
            return found(model, batch)
        except RuntimeError as error:
            if 'NVIDIA driver' in str(error):  # torch 2.4
                pytest.skip(f'torch {torch.__version__} needs a GPU for fake ones, too')
            raise

    return tried


@pytest.fixture
def losses(root, tmp_path, monkeypatch, compute):
    """``losses(config)``: what a method computes on a GPU for a batch."""
    monkeypatch.setattr(step_cost, 'training_step', lambda model, batch, *_: (model, batch))

    def found(config):
        return compute(*read_steps(root / 'configs' / config, torch.device('cpu'), tmp_path, 4, 4).own)

    return found


class NothingWaits(TorchDispatchMode):
    """Refuse operations that copy from the CPU in the middle of a step, and wait for it."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        found = operation(*args, **(kwargs or {}))
        tensors = [value for value in tree_flatten((args, kwargs, found))[0] if isinstance(value, torch.Tensor)]
        if len({value.device.type for value in tensors}) > 1 and not (kwargs or {}).get('non_blocking'):
            place = [frame for frame in traceback.extract_stack() if f'torch{os.sep}' not in frame.filename][-2]
            if Path(place.filename).is_relative_to(Path(mmdmt.__file__).parent):  # and not the stock network
                raise AssertionError(f'{operation} copies, and waits: {place.filename}:{place.lineno}')
        return found


def as_list(values):
    return values if isinstance(values, list | tuple) else [values]


@pytest.mark.parametrize('config', PASSES)
def test_losses_of_a_gpu_mix_no_devices(losses, config):
    check(losses(config))


@pytest.mark.parametrize('config', FULL_SIZE)
def test_full_size(root, compute, monkeypatch, config):
    """What the benchmark measures: configs as they are, on random images."""
    steps = []
    monkeypatch.setattr(config_cost, 'training_step', lambda model, batch, *_: steps.append((model, batch)))
    monkeypatch.setattr(Meter, 'seconds', lambda *_: [1.0])
    (figure,) = config_cost.config_figures(root / 'configs', Meter(), [config])
    assert figure.ratio == 1
    (own, batch), _, (stock, _) = steps
    assert own['type'] != stock['type']
    check(compute(own, batch))


def check(found):
    parts = [part for key, value in found.items() if 'loss' in key for part in as_list(value)]
    assert parts
    assert {part.device for part in parts} == {GPU}


def test_mixed_devices_are_found(losses, monkeypatch):
    monkeypatch.setattr(View, 'valid', property(lambda view: torch.ones(view.images[:, 0].shape, dtype=torch.bool)))
    with pytest.raises(RuntimeError, match='same device'):
        losses('cross_pseudo/digits.py')


def test_waiting_copies_are_found(losses, monkeypatch):
    monkeypatch.setattr('mmdmt.methods.cutmix_seg.to_device', torch.Tensor.to)
    with pytest.raises(AssertionError, match=r'_to_copy.* copies, and waits'):
        losses('cutmix_seg/digits.py')

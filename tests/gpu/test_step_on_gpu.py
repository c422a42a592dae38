"""A training step on a GPU: what it waits for, and what common settings of torch change in it."""

import warnings
from collections import Counter

import pytest
import torch
from mmengine.model import BaseDataPreprocessor
from mmseg.models import SegDataPreProcessor
from torch.profiler import ProfilerActivity, profile

from mmdmt.analysis import step_cost
from mmdmt.analysis.measuring import Meter
from mmdmt.analysis.step_cost import PASSES, read_steps
from mmdmt.core.dynamic_weight import HUMAN
from mmdmt.losses.dynamic_mutual_loss import DynamicMutualLoss, teacher_confidence
from tests.conftest import ROOT

# Calls that make the CPU wait for the GPU. Optimizers also read scalars that lie on the CPU, which wait for nothing.
WAITING = ('cudaStreamSynchronize', 'cudaDeviceSynchronize', 'cudaEventSynchronize')


TWO_NETWORKS = ('cross_pseudo', 'dual_student', 'deep_co_training')


@pytest.fixture(scope='module')
def steps(device, tmp_path_factory):
    """``steps(config, size)``: a step of a config, and of its stock model on as many images."""
    torch.set_num_threads(1)

    def make(config, size=64, labeled=4, unlabeled=12):
        options = {'dmt.labeled.pipeline.2.scale': (size, size), 'dmt.labeled.pipeline.3.crop_size': (size, size)}
        own = options if config == 'dmt/fcn_digits.py' else None
        folder = tmp_path_factory.mktemp('steps')
        return read_steps(ROOT / 'configs' / config, device, folder, labeled, unlabeled, own)

    return make


def waits(step, device):
    """How often a step calls each of ``WAITING``."""
    step()
    step()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == 'cuda' else [])]
    with warnings.catch_warnings(), profile(activities=activities) as trace:
        warnings.simplefilter('ignore')
        step()
    return Counter({event.key: event.count for event in trace.key_averages() if event.key in WAITING})


@pytest.mark.parametrize('config', PASSES)
def test_step_waits_no_more_than_the_stock_one(steps, config, device, figures, monkeypatch):
    """The stock step waits as well: it reads its losses for the log, and counts right pixels by a Boolean index.

    Both wait for the copy of each of their images, and for the list of channels by which mmseg reorders it. Here, the
    images are on the GPU before, in order.
    """
    monkeypatch.setattr(
        SegDataPreProcessor, '_channel_conversion', property(lambda _: False, lambda *_: None), raising=False
    )
    copied = BaseDataPreprocessor().to(device).cast_data
    read = step_cost._batch
    monkeypatch.setattr(step_cost, '_batch', lambda cfg: copied(read(cfg)))
    found = steps(config)
    own, stock = waits(found.own, device), waits(found.all, device)
    figures(f'waits of a step, {config}', dict(own=own, stock=stock))
    # Methods with two networks, which is what two stock models would do.
    networks = 2 if config.startswith(TWO_NETWORKS) else 1
    assert all(own[name] <= networks * stock[name] for name in own), (own, stock)


def batch(device, shape=(4, 21, 160, 160)):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=generator).to(device).requires_grad_()
    label = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator).to(device)
    label[:, :10] = 255
    confidence = torch.rand(label.shape, generator=generator).to(device)
    confidence[0] = HUMAN
    return logits, label, confidence


def test_loss_waits_for_nothing(device):
    """Of itself, forward and backward."""
    if device.type == 'cpu':
        pytest.skip('a CPU waits for nothing')
    logits, label, confidence = batch(device)
    loss = DynamicMutualLoss(class_weight=[1.0] * logits.shape[1])
    with teacher_confidence([('head', loss)], confidence):
        loss(logits, label).backward()
        torch.cuda.set_sync_debug_mode('error')
        try:
            loss(logits, label).backward()
        finally:
            torch.cuda.set_sync_debug_mode('default')


def test_loss_on_both_devices(device):
    """Value and gradient of the GPU are those of the CPU."""
    found = []
    for place in (device, torch.device('cpu')):
        logits, label, confidence = batch(place)
        loss = DynamicMutualLoss()
        with teacher_confidence([('head', loss)], confidence):
            value = loss(logits, label)
        value.backward()
        found.append((value.detach().cpu(), logits.grad.cpu()))
    (value, gradient), (other, other_gradient) = found
    torch.testing.assert_close(value, other, rtol=1e-5, atol=0)
    torch.testing.assert_close(gradient, other_gradient, rtol=1e-4, atol=1e-8)


def test_compiled_loss(device, figures):
    """``torch.compile`` gives the same; the figure says whether it gains."""
    logits, label, confidence = batch(device)
    loss = DynamicMutualLoss()

    def gradient(function):
        with teacher_confidence([('head', loss)], confidence):
            function(logits, label).backward()
        found, logits.grad = logits.grad, None
        return found

    try:
        compiled = torch.compile(loss)
        torch.testing.assert_close(gradient(compiled), gradient(loss), rtol=1e-4, atol=1e-8)
    except torch._dynamo.exc.BackendCompilerFailed as error:
        pytest.skip(f'torch.compile has no compiler here: {str(error).splitlines()[0]}')
    own, other = Meter(device.type, 11).seconds(lambda: gradient(compiled), lambda: gradient(loss))
    figures('compiled loss against the loss', own / other)


def test_settings(steps, device, figures):
    """Step time of FCN-R18 at 160 pixels with cuDNN's search for fast kernels and with channels last."""
    found = steps('dmt/fcn_digits.py', 160, 2, 6)
    meter = Meter(device.type, 7)
    (plain,) = meter.seconds(found.own)
    torch.backends.cudnn.benchmark = True
    try:
        (searched,) = meter.seconds(found.own)
    finally:
        torch.backends.cudnn.benchmark = False
    enclosed = (cell.cell_contents for cell in found.own.__closure__)
    network = next(value for value in enclosed if isinstance(value, torch.nn.Module))
    network.to(memory_format=torch.channels_last)
    (last,) = meter.seconds(found.own)
    figures('step with cudnn.benchmark, with channels last', [searched / plain, last / plain])


def test_pinned_memory(device, figures):
    """Copies of pinned images do not hold up the CPU; the figure is their time against that of others."""
    if device.type == 'cpu':
        pytest.skip('nothing is copied')
    images = torch.zeros(16, 3, 321, 321)
    pinned = images.pin_memory()
    other, own = Meter('cuda', 21).seconds(lambda: images.to(device), lambda: pinned.to(device, non_blocking=True))
    figures('copy of pinned images against that of others', own / other)

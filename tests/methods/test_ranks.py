"""A step of two processes is one of a single process that computes both halves of the batch.

Batch norm is not synchronized: each process normalizes its own images, and keeps statistics of its own. The single
process does the same with one replica for each half, which is why all values are compared, not only weights.
"""

import copy
import multiprocessing
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.structures import PixelData

from mmdmt.engine.hooks import WholeBatchHook
from mmdmt.methods import cct, cross_pseudo, cutmix_seg
from mmdmt.methods.base import View
from tests.methods.conftest import AUXILIARY, CLASSES, SEGMENTOR, STOCK, sharpened, total
from tests.ranks import on_ranks

RANKS, STEPS, TIMEOUT = 2, 2, 60
CASES = [
    ('OnlineST', 'pixels', dict(threshold=0.4)),
    ('MeanTeacher', 'pixels', dict(ramp=0.0, teacher_momentum=0.9)),
    ('MeanTeacher', 'images', dict(ramp=0.0, teacher_momentum=0.9)),
    ('CutMixSeg', 'pixels', dict(threshold=0.4, teacher_momentum=0.9)),
    ('FixMatch', 'pixels', dict(threshold=0.4)),
    ('FixMatch', 'images', dict(threshold=0.4, teacher_momentum=0.9)),
    ('UniMatch', 'pixels', dict(threshold=0.4)),
    ('UniMatch', 'pixels', dict(threshold=0.4, feature_dropout='complementary', teacher='average')),
    ('CrossPseudo', 'pixels', {}),
    ('CrossPseudo', 'pixels', dict(cut_mix=True)),
    ('CrossPseudo', 'images', dict(weighting='dmt')),
    ('CCT', 'pixels', dict(ramp=0.0)),
    ('MixMatch', 'images', dict(ramp=0.0, teacher_momentum=0.9)),
    ('DualStudent', 'images', dict(threshold=0.4, ramp=0.0)),
    ('DeepCoTraining', 'images', dict(ramp=0.0)),
]


def seed(step, rank):
    torch.manual_seed(10 * step + rank)
    np.random.seed(10 * step + rank)


def optimizer_of(method):
    return torch.optim.SGD([weight for weight in method.parameters() if weight.requires_grad], lr=0.1, momentum=0.9)


def train_rank(rank, method, halves, folder):
    """The part of one process, as a run trains it."""
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=RANKS)
    model = MMDistributedDataParallel(method, device_ids=None, broadcast_buffers=False)
    wrapper = OptimWrapper(optimizer_of(method))
    batch = {name: dict(inputs=list(view.images), data_samples=view.samples) for name, view in halves[rank].items()}
    for step in range(STEPS):
        seed(step, rank)
        model.train_step(copy.deepcopy(batch), wrapper)
        method.after_step()
    torch.save(method.state_dict(), f'{folder}/{rank}.pth')
    dist.barrier()


def train_both(method, halves):
    """State of each replica of a single process, which averages their gradients."""
    replicas = [copy.deepcopy(method) for _ in range(RANKS)]
    optimizers = [optimizer_of(replica) for replica in replicas]
    for step in range(STEPS):
        for rank, (replica, half) in enumerate(zip(replicas, halves, strict=True)):
            seed(step, rank)
            replica.zero_grad()
            total(replica.loss(**half)).backward()
        for weights in zip(*(replica.parameters() for replica in replicas), strict=True):
            if weights[0].requires_grad:
                mean = sum(weight.grad for weight in weights) / RANKS
                for weight in weights:
                    weight.grad = mean.clone()
        for replica, optimizer in zip(replicas, optimizers, strict=True):
            optimizer.step()
            replica.after_step()
    return [replica.state_dict() for replica in replicas]


@pytest.mark.parametrize(('name', 'task', 'arguments'), CASES)
def test_two_processes_are_one(build, views, tmp_path, name, task, arguments):
    method = build(name, STOCK[task], **arguments)
    sharpened(method.student, 1.0)
    halves = [views(method, task, 2, size=(12, 16) if task == 'pixels' else (8, 8)) for _ in range(RANKS)]
    expected = train_both(method, halves)
    before = copy.deepcopy(method.state_dict())
    context = multiprocessing.get_context('fork')
    ranks = [context.Process(target=train_rank, args=(rank, method, halves, tmp_path)) for rank in range(RANKS)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(TIMEOUT)
    assert [rank.exitcode for rank in ranks] == [0] * RANKS
    found = [torch.load(tmp_path / f'{rank}.pth') for rank in range(RANKS)]
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for key, value in one.items():
            torch.testing.assert_close(value, other[key], atol=1e-5, rtol=1e-5, msg=lambda text, key=key: key + text)
    weights = [key for key, _ in method.named_parameters()]
    assert all(torch.equal(found[0][key], found[1][key]) for key in weights)
    networks = {key.split('.')[0] for key in weights}
    assert {key.split('.')[0] for key in weights if not torch.equal(found[0][key], before[key])} == networks
    # Each process alone would end elsewhere.
    assert not torch.equal(train_both(method, halves[:1] * RANKS)[0][weights[0]], found[0][weights[0]])


# What draws nothing and mixes no images can be compared with one process that has the whole batch.
ALONE = dict(strong_views=1, feature_dropout='none', box_prob=0.0)
WHOLE = [
    ('OnlineST', dict(threshold=0.4)),
    ('MeanTeacher', dict(ramp=0.0)),
    ('MeanTeacher', dict(ramp=0.0, distance='logit')),
    ('CutMixSeg', dict(threshold=0.4)),
    ('CutMixSeg', dict(threshold=0.4, by_pixel=True)),
    ('FixMatch', dict(threshold=0.4)),
    ('UniMatch', dict(threshold=0.4, **ALONE)),
    ('UniMatch', dict(threshold=0.4, teacher='average', **ALONE)),
    ('CrossPseudo', {}),
    ('CrossPseudo', dict(weighting='dmt')),
    ('CrossPseudo', dict(cut_mix=True)),
    ('CCT', dict(ramp=0.0)),
]
# The head divides by its valid pixels, one auxiliary head by their class weights, the other one by all pixels.
HEADS = dict(
    auxiliary_head=[
        dict(AUXILIARY, loss_decode=dict(type='CrossEntropyLoss', class_weight=[0.5, 1.0, 4.0], loss_weight=0.4)),
        dict(AUXILIARY, loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4)),
    ]
)


def both(*halves):
    """The batch of both processes."""
    return View(torch.cat([half.images for half in halves]), [sample for half in halves for sample in half.samples])


def gradients(method, views):
    """Loss of a batch, and the gradient of each weight."""
    loss = total(method.loss(**views))
    loss.backward()
    return loss.item(), {name: part.grad.numpy() for name, part in method.named_parameters() if part.grad is not None}


def share(method, halves):
    """The same of the part of one process, as a train phase computes it."""
    dist.init_process_group('gloo')
    WholeBatchHook().before_train(SimpleNamespace(model=method))
    return gradients(method, halves[int(os.environ['RANK'])])


@pytest.fixture
def without_draws(monkeypatch):
    """Boxes that cover nothing, and perturbations by fixed factors."""
    for module in (cutmix_seg, cross_pseudo):
        monkeypatch.setattr(module, 'draw_boxes', lambda number, *size, **_: torch.zeros(number, *size[:2]).bool())
    changed = {name: lambda features, *_: features * 2 for name in cct.PERTURBATIONS}
    monkeypatch.setattr(cct, 'PERTURBATIONS', changed)


@pytest.mark.usefixtures('without_draws')
@pytest.mark.parametrize(('name', 'arguments'), WHOLE, ids=str)
def test_processes_with_unequal_numbers_of_valid_pixels_share_one_batch(build, views, name, arguments):
    """Padding is a quarter of one process's images, and none of the other's; so are ignored labels."""
    method = build(name, dict(SEGMENTOR, **HEADS), **arguments).eval()
    for network in (part for part in (method.student, method.teacher, getattr(method, 'second', None)) if part):
        sharpened(network, 1.0)
    halves = [views(method, 'pixels', padding=padding) for padding in ((0, 4, 3, 0), (0, 0, 0, 0))]
    for sample in halves[1]['labeled'].samples:
        label = torch.randint(CLASSES, (1, 12, 16))
        label[..., 4:] = 255
        sample.set_data(dict(gt_sem_seg=PixelData(data=label)))
    valid = [{name: int(view.valid.sum()) for name, view in half.items()} for half in halves]
    assert all(valid[0][name] != valid[1][name] for name in valid[0])
    found = on_ranks(2, share, method, halves)
    WholeBatchHook().before_train(SimpleNamespace(model=method))
    loss, expected = gradients(method, {name: both(halves[0][name], halves[1][name]) for name in halves[0]})
    assert (found[0][0] + found[1][0]) / 2 == pytest.approx(loss, rel=1e-5)
    assert found[0][1].keys() == found[1][1].keys() == expected.keys()
    for key, gradient in expected.items():
        mean = (found[0][1][key] + found[1][1][key]) / 2
        np.testing.assert_allclose(mean, gradient, rtol=1e-4, atol=1e-6 * max(1.0, abs(gradient).max()), err_msg=key)
    method.zero_grad()
    alone = sum(gradients(method, half)[0] for half in halves) / 2
    assert abs(alone - loss) > 1e-3 * loss  # so that the number of valid pixels matters

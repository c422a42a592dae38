import math

import pytest
import torch

from mmdmt.methods.dual_student import _who_learns
from tests.methods.conftest import CLASSIFIER, moved_by, sharpened, total


@pytest.fixture
def make(build):
    def make(**arguments):
        method = build('DualStudent', CLASSIFIER, **arguments)
        for network in (method.student, method.second):
            sharpened(network, 3.0)
        return method

    return make


def mse(first, second):
    return (first - second).square().mean(1)


def test_loss_by_hand(make, views):
    method = make(consistency=2.0, stabilization=7.0, threshold=0.5, ramp=0.5)
    method.set_progress(0.25)
    method.eval()
    batch = views(method, 'images', 6)
    for name in ('second', 'labeled_again'):  # similar views, so that some predictions are stable
        batch[name].images.copy_(batch[{'second': 'first'}.get(name, 'labeled')].images * 1.1)
    seen = [
        torch.cat([batch[a].images, batch[b].images]) for a, b in (('labeled', 'first'), ('labeled_again', 'second'))
    ]
    output = {
        (name, view): method.logits(network, seen[view]).detach().double().softmax(1)
        for name, network in (('l', method.student), ('r', method.second)) for view in (0, 1)
    }  # fmt: skip
    own = {'l': (output['l', 0], output['l', 1]), 'r': (output['r', 1], output['r', 0])}
    ramp, learned, stabilization = math.exp(-5 * 0.25), set(), {'l': 0.0, 'r': 0.0}
    for index in range(6, 12):
        stable, unrest = {}, {}
        for name, (with_gradient, without) in own.items():
            pair = with_gradient[index], without[index]
            stable[name] = pair[0].argmax() == pair[1].argmax() and max(pair[0].max(), pair[1].max()) > 0.5
            unrest[name] = mse(*[value[None] for value in pair]).item()
        learner = None
        if stable['l'] and stable['r']:
            learner = max(unrest, key=unrest.get)
        elif stable['l'] or stable['r']:
            learner = 'r' if stable['l'] else 'l'
        if learner:
            learned.add(index)
            other = 'r' if learner == 'l' else 'l'
            stabilization[learner] += mse(own[learner][0][index][None], own[other][0][index][None]).item() / 6
    losses = method.loss(**batch)
    for name, prefix in (('l', ''), ('r', 'second.')):
        expected = 2 * ramp * mse(*own[name]).mean().item()
        assert losses[f'{prefix}loss_consistency'].item() == pytest.approx(expected, rel=1e-4)
        expected = 7 * ramp * 0.5 * stabilization[name]
        assert losses[f'{prefix}loss_stabilization'].item() == pytest.approx(expected, rel=1e-4)
    assert losses['exchanged'].item() == pytest.approx(len(learned) / 6)
    assert learned


def probabilities(*values):
    return torch.tensor([[value, 1 - value] for value in values])


def test_who_learns_by_hand():
    """Only r stable; only l; none; both, and l is less steady; both, and r is; both equally steady; unsure."""
    left = probabilities(0.9, 0.9, 0.4, 0.90, 0.90, 0.9, 0.7), probabilities(0.1, 0.9, 0.6, 0.60, 0.85, 0.9, 0.7)
    right = probabilities(0.9, 0.9, 0.4, 0.90, 0.90, 0.9, 0.7), probabilities(0.8, 0.2, 0.6, 0.85, 0.60, 0.9, 0.7)
    own, other = _who_learns(left, right, 0.8)
    assert own.tolist() == [True, False, False, True, False, False, False]
    assert other.tolist() == [False, True, False, False, True, False, False]


@pytest.mark.parametrize(
    ('name', 'network'),
    [('loss_consistency', 'student'), ('second.loss_consistency', 'second'), ('loss_stabilization', 'student'),
     ('second.loss_stabilization', 'second')],
)  # fmt: skip
def test_each_unlabeled_loss_moves_its_own_student(make, views, monkeypatch, name, network):
    method = make(ramp=0.0)
    everywhere = torch.ones(4, dtype=torch.bool)
    monkeypatch.setattr('mmdmt.methods.dual_student._who_learns', lambda *_: (everywhere, everywhere))
    assert moved_by(method, method.loss(**views(method, 'images', 4))[name]) == {network}


def test_bfloat16(make, views):
    method = make(ramp=0.0)
    with torch.autocast('cpu', torch.bfloat16):
        losses = method.loss(**views(method, 'images'))
    assert losses['loss_consistency'].dtype == torch.float32
    total(losses).backward()
    assert all(weight.grad is not None for weight in method.parameters())


@pytest.mark.parametrize(
    'argument', [dict(consistency=-1.0), dict(stabilization=-1.0), dict(threshold=1.2), dict(ramp=1.2)]
)
def test_arguments_outside_their_range(build, argument):
    ((name, value),) = argument.items()
    with pytest.raises(ValueError, match=rf'^DualStudent: {name}={value} must be '):
        build('DualStudent', CLASSIFIER, **argument)

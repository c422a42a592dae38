import math

import pytest
import torch
from torch.nn import functional as F

from tests.methods.conftest import CLASSIFIER, moved_by, sharpened, total


@pytest.fixture
def make(build):
    def make(**arguments):
        method = build('DeepCoTraining', CLASSIFIER, **arguments)
        for network in (method.student, method.second):
            sharpened(network, 1.0)
        return method

    return make


def entropy(p, q):
    return -(p * q.log()).sum(1).mean()


def test_loss_by_hand(make, views):
    method = make(cot=2.0, dif=3.0, epsilon=0.05, ramp=0.5)
    method.set_progress(0.25)
    method.eval()
    batch = views(method, 'images', 4)
    labels = torch.cat([sample.gt_label for sample in batch['labeled'].samples])
    networks = (method.student, method.second)
    outputs, attacked, supervised = [], [], 0.0
    for network, part in zip(networks, (slice(2), slice(2, 4)), strict=True):
        images = torch.cat([batch['labeled'].images[part], batch['weak'].images]).requires_grad_()
        logits = method.logits(network, images)
        target = torch.cat([labels[part], logits[2:].argmax(1)])
        F.cross_entropy(logits, target).backward()
        attacked.append((images + 0.05 * images.grad.sign()).detach())
        outputs.append(logits.detach().double().softmax(1))
        supervised += F.cross_entropy(logits[:2], labels[part]).item()
    fooled = [method.logits(networks[1 - index], attacked[index]).double().softmax(1) for index in (0, 1)]
    first, second = (own[2:] for own in outputs)
    cot = entropy((first + second) / 2, (first + second) / 2) - (entropy(first, first) + entropy(second, second)) / 2
    dif = entropy(outputs[0], fooled[0]) + entropy(outputs[1], fooled[1])
    losses = method.loss(**batch)
    ramp = math.exp(-5 * 0.25)
    assert losses['loss_cot'].item() == pytest.approx(2 * ramp * cot.item(), rel=1e-4)
    assert losses['loss_dif'].item() == pytest.approx(3 * ramp * dif.item(), rel=1e-4)
    rest = total(losses) - losses['loss_cot'] - losses['loss_dif']
    assert rest.item() == pytest.approx(supervised, rel=1e-5)


def test_agreement_is_of_probabilities_and_not_of_logits(make, views, monkeypatch):
    """Opposite certain predictions: their probabilities differ by log 2, averaged logits would differ by 0."""
    method = make(cot=1.0, ramp=0.0)
    certain = {
        id(method.student): torch.tensor([[50.0, 0.0, 0.0]]),
        id(method.second): torch.tensor([[0.0, 50.0, 0.0]]),
    }
    monkeypatch.setattr(method, 'joint', lambda network, own, images: ({}, certain[id(network)].expand(len(images), 3)))
    assert method.loss(**views(method, 'images'))['loss_cot'].item() == pytest.approx(math.log(2), rel=1e-5)


@pytest.mark.parametrize('name', ['loss_cot', 'loss_dif'])
def test_unlabeled_losses_move_both_networks(make, views, name):
    method = make(ramp=0.0)
    assert moved_by(method, method.loss(**views(method, 'images'))[name]) == {'student', 'second'}


def test_an_attack_raises_the_loss_of_its_network_and_leaves_no_trace(make, view):
    method = make(epsilon=0.1)
    images, state = view('images', 6).images, {key: value.clone() for key, value in method.state_dict().items()}
    label = torch.tensor([0, 1])
    attacked = method._attack(method.student, images, label)
    torch.testing.assert_close((attacked - images).abs().max(), torch.tensor(0.1))
    with torch.no_grad():
        before, after = (method.logits(method.student.eval(), values) for values in (images, attacked))
    target = torch.cat([label, before[2:].argmax(1)])
    assert F.cross_entropy(after, target) > F.cross_entropy(before, target)
    assert all(torch.equal(value, state[key]) for key, value in method.state_dict().items())
    assert all(weight.grad is None for weight in method.parameters())


def test_bfloat16(make, views):
    method = make(ramp=0.0)
    with torch.autocast('cpu', torch.bfloat16):
        losses = method.loss(**views(method, 'images'))
    assert losses['loss_cot'].dtype == losses['loss_dif'].dtype == torch.float32
    assert moved_by(method, losses['loss_dif']) == {'student', 'second'}


def test_an_odd_number_of_labeled_images(make, views):
    method = make()
    with pytest.raises(ValueError, match='labeled_per_batch must be even, got 3'):
        method.loss(**views(method, 'images', 3))


@pytest.mark.parametrize('argument', [dict(cot=-1.0), dict(dif=-1.0), dict(epsilon=0.0), dict(ramp=1.1)])
def test_arguments_outside_their_range(build, argument):
    ((name, value),) = argument.items()
    with pytest.raises(ValueError, match=rf'^DeepCoTraining: {name}={value} must be '):
        build('DeepCoTraining', CLASSIFIER, **argument)

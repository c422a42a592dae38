import math

import pytest
import torch

from mmdmt.methods import cross_pseudo
from tests.methods.conftest import SEGMENTOR, SIZE, STOCK, moved_by, padded_apart, sharpened, total

GAMMAS = (1.5, 2.5)


def apart(method):
    for network in (method.student, method.second):
        sharpened(network, 1.0)
        network.eval()  # fixed statistics: images are computed as if alone
    return method


def by_hand(logits, valid, weighting):
    """Both directions of the loss, value by value in float64; and the share where the labels differ."""
    pair = [own.detach().double().movedim(1, -1).reshape(-1, 3).softmax(1).tolist() for own in logits]
    loss, differ = 0.0, 0
    inside = valid.flatten().tolist()
    for student, teacher in (pair, pair[::-1]):
        for own, other, counts in zip(student, teacher, inside, strict=True):
            if not counts:
                continue
            label, weight = other.index(max(other)), 1.0
            agree = own[label] == max(own)  # any class of a tie
            differ += not agree
            if weighting == 'dmt':
                weight = own[label] ** GAMMAS[0 if agree else 1]
                if not agree and max(other) < max(own):
                    weight = 0.0
            loss -= weight * math.log(own[label])
    return loss / sum(inside), differ / (2 * sum(inside))


@pytest.mark.parametrize('weighting', ['none', 'dmt'])
@pytest.mark.parametrize('task', STOCK)
def test_loss_by_hand(build, views, task, weighting):
    method = apart(
        build('CrossPseudo', STOCK[task], weight=0.7, weighting=weighting, gamma1=GAMMAS[0], gamma2=GAMMAS[1])
    )
    batch = views(method, task, 3, **(dict(padding=(0, 3, 0, 2)) if task == 'pixels' else {}))
    images = torch.cat([batch['labeled'].images, batch['weak'].images])
    valid = torch.ones(6, dtype=torch.bool)
    if task == 'pixels':
        valid = torch.cat([batch['labeled'].valid, batch['weak'].valid])
        assert 0 < valid.float().mean() < 1
    logits = [method.logits(network, images) for network in (method.student, method.second)]
    expected, differ = by_hand(logits, valid, weighting)
    losses = method.loss(**batch)
    assert losses['loss_cross'].item() == pytest.approx(0.7 * expected, rel=1e-5)
    assert losses['disagree'].item() == pytest.approx(differ, rel=1e-5)
    assert differ > 0
    stock = sum(total(network.loss(*batch['labeled'])) for network in (method.student, method.second))
    assert (total(losses) - losses['loss_cross']).item() == pytest.approx(stock.item(), rel=1e-5)


def test_mixed_loss_by_hand(build, views, monkeypatch):
    mask = torch.zeros(1, *SIZE, dtype=torch.bool)
    mask[:, 1:7, 2:9] = True
    asked = []

    def draw(number, height, width, **options):
        asked.append((number, height, width, options))
        return mask.expand(number, -1, -1)

    monkeypatch.setattr(cross_pseudo, 'draw_boxes', draw)
    method = apart(build('CrossPseudo', SEGMENTOR, weight=1.0, cut_mix=True))
    batch = views(method, 'pixels', 3)
    images, valid = batch['weak'].images, padded_apart(batch['weak']).valid
    valid = torch.where(mask, valid[[2, 0, 1]], valid)
    mixed = torch.where(mask[:, None], images[[2, 0, 1]], images)
    labels, learned = [], []
    for network in (method.student, method.second):
        own = method.logits(network, images).argmax(1)
        labels.append(torch.where(mask, own[[2, 0, 1]], own))
        learned.append(method.logits(network, mixed))
    expected = sum(
        torch.nn.functional.cross_entropy(learned[index].double(), labels[1 - index], reduction='none')[valid].mean()
        for index in (0, 1)
    )
    assert method.loss(**batch)['loss_cross'].item() == pytest.approx(expected.item(), rel=1e-5)
    assert asked == [(3, *SIZE, dict(share=(0.25, 0.5), boxes=3))]


@pytest.mark.parametrize('cut_mix', [False, True])
def test_each_network_learns_from_the_labels_of_the_other_one(build, views, cut_mix):
    method = build('CrossPseudo', SEGMENTOR, cut_mix=cut_mix)
    batch = views(method, 'pixels')
    assert moved_by(method, method.loss(**batch)['loss_cross']) == {'student', 'second'}
    step = (method._mixed if cut_mix else method._joint)(**batch)
    for own, name in ((0, 'student'), (1, 'second')):
        loss, _ = method._learn(step.logits[own], step.labeling[1 - own], step.valid)
        assert moved_by(method, loss) == {name}


def test_only_the_first_network_predicts(build, view):
    method = build('CrossPseudo', SEGMENTOR).eval()
    images = view('pixels', 1).images
    assert torch.equal(method(images), method.student(images))
    assert method.predictor_prefix == 'student.'


@pytest.mark.parametrize('cut_mix', [False, True])
def test_bfloat16(build, views, cut_mix):
    method = build('CrossPseudo', SEGMENTOR, cut_mix=cut_mix, weighting='dmt')
    with torch.autocast('cpu', torch.bfloat16):
        losses = method.loss(**views(method, 'pixels'))
    assert losses['loss_cross'].dtype == torch.float32
    losses['loss_cross'].backward()
    assert all(weight.grad is not None for weight in method.second.parameters())


@pytest.mark.parametrize('argument', [dict(weight=-1.0), dict(weighting='cosine')])
def test_arguments_outside_their_range(build, argument):
    ((name, value),) = argument.items()
    with pytest.raises(ValueError, match=rf'^CrossPseudo: {name}={value!r} must be '):
        build('CrossPseudo', SEGMENTOR, **argument)


def test_gamma_below_zero(build):
    with pytest.raises(ValueError, match='CrossPseudo: gamma1=-1 must be at least 0'):
        build('CrossPseudo', SEGMENTOR, gamma1=-1)


def test_a_classifier_has_no_boxes_to_mix(build):
    with pytest.raises(ValueError, match='CrossPseudo: cut_mix=True must be False for a classifier'):
        build('CrossPseudo', STOCK['images'], cut_mix=True)

import copy
import math

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.models.utils.batch_augments import Mixup
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn
from torch.nn import functional as F

from mmdmt.cls import classifier
from mmdmt.cls.classifier import DMTImageClassifier, frozen_batch_norm
from mmdmt.core.dynamic_loss import dynamic_mutual_loss

CLASSES = 3
GAMMA1, GAMMA2 = 2.0, 1.0
# Of the six images of a batch: who labeled them, and how sure; see `make_batch`.
CONFIDENCES = [2.0, 2.0, 0.9, 0.999, 0.01, 0.2]
HUMAN, AGREE, NEGATIVE, POSITIVE = [0, 1], [2, 5], [3], [4]
GAP = {'type': 'GlobalAveragePooling'}
STATISTICS = {'disagree', 'student_wins', 'mean_weight'}
LAM, PARTNER = 0.6875, [4, 2, 0, 5, 3, 1]


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    torch.manual_seed(0)
    np.random.seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def dynamic(gamma1=GAMMA1, gamma2=GAMMA2, **kwargs):
    return {'type': 'DynamicMutualLoss', 'gamma1': gamma1, 'gamma2': gamma2, **kwargs}


def linear(in_channels=64, loss=None, **kwargs):
    loss = loss or dynamic()
    return {'type': 'LinearClsHead', 'in_channels': in_channels, 'num_classes': CLASSES, 'loss': loss, **kwargs}


def build(head=None, type_='DMTImageClassifier', **kwargs):
    backbone = {'type': 'WideResNet', 'depth': 10, 'width': 1}
    config = {'type': type_, 'backbone': backbone, 'neck': GAP, 'head': linear() if head is None else head}
    return MODELS.build({**config, **kwargs}).train()


def build_stock(loss):
    return build(linear(loss=loss), 'ImageClassifier')


def make_samples(labels, confidences):
    samples = [DataSample().set_gt_label(int(label)) for label in labels]
    for sample, confidence in zip(samples, confidences, strict=True):
        sample.set_field(torch.tensor(confidence), 'gt_confidence')
        sample.set_metainfo(dict(human_label=confidence > 1))
    return samples


def logits_of(model, images):
    """Logits in training mode, of a copy: nothing of the model changes."""
    return copy.deepcopy(model)(images)


def make_batch(model):
    """Two human labels, two with which the model agrees and two with which it does not, in the order of CONFIDENCES."""
    images = torch.randn(6, 3, 8, 8)
    logits = logits_of(model, images)
    labels = logits.argmax(1)
    for index in (1, *NEGATIVE, *POSITIVE):
        labels[index] = (labels[index] + 1) % CLASSES
    return images, make_samples(labels, CONFIDENCES)


def labels_of(samples):
    return [sample.gt_label.item() for sample in samples]


def slow_weights(logits, labels, confidences, variant='dmt'):
    """Label and weight of each image, by plain Python."""
    result = []
    for row, label, confidence in zip(logits.tolist(), labels, confidences, strict=True):
        total = sum(math.exp(value) for value in row)
        probabilities = [math.exp(value) / total for value in row]
        student = max(range(len(row)), key=row.__getitem__)
        weight = probabilities[label] ** GAMMA1
        if confidence == 2.0:
            weight = 1.0
        elif student != label and variant != 'naive':
            weight = probabilities[label] ** GAMMA2
            if confidence < probabilities[student]:
                weight = 0.0
                if variant == 'flip':
                    label, weight = student, (1 - confidence) ** GAMMA2
        result.append((label, weight))
    return result


def slow_mixup_loss(model, images, pairs, lam, partner, weighting):
    """Loss of the images mixed one by one, label by label; ``pairs`` are label and weight of each unmixed one."""
    mixed = torch.stack([lam * images[i] + (1 - lam) * images[j] for i, j in enumerate(partner)])
    log_prob = logits_of(model, mixed).log_softmax(1)
    total = 0.0
    for i, j in enumerate(partner):
        (label, weight), (other_label, other_weight) = pairs[i], pairs[j]
        if weighting == 'image':
            weight = other_weight = lam * weight + (1 - lam) * other_weight
        total -= lam * weight * log_prob[i, label].item() + (1 - lam) * other_weight * log_prob[i, other_label].item()
    return total / len(images)


@pytest.fixture
def fixed_mixup(monkeypatch):
    monkeypatch.setattr(classifier, 'draw_lam', lambda alpha, dominant: LAM)
    monkeypatch.setattr(classifier, 'draw_partners', lambda number, device: torch.tensor(PARTNER[:number]))


@pytest.fixture
def forwards(monkeypatch):
    """Batches that went through the network, and whether with gradient."""
    calls = []
    extract_feat = DMTImageClassifier.extract_feat

    def record(self, inputs, *args, **kwargs):
        calls.append((inputs, torch.is_grad_enabled()))
        return extract_feat(self, inputs, *args, **kwargs)

    monkeypatch.setattr(DMTImageClassifier, 'extract_feat', record)
    return calls


def test_state_dict_and_predictions_are_the_stock_ones():
    ours, stock = build(mixup={}).eval(), build_stock({'type': 'CrossEntropyLoss'}).eval()
    assert list(ours.state_dict()) == list(stock.state_dict())
    images = torch.randn(4, 3, 16, 16)
    assert not torch.equal(ours(images), stock(images))
    stock.load_state_dict(ours.state_dict(), strict=True)
    assert torch.equal(ours(images), stock(images))
    for own, other in zip(ours.predict(images), stock.predict(images), strict=True):
        assert torch.equal(own.pred_score, other.pred_score)
        assert torch.equal(own.pred_label, other.pred_label)
    ours.load_state_dict(build_stock({'type': 'CrossEntropyLoss'}).state_dict(), strict=True)


@pytest.mark.parametrize('variant', ['dmt', 'naive', 'flip'])
@pytest.mark.parametrize('weighting', ['image', 'term'])
def test_mixup_loss_by_hand(fixed_mixup, variant, weighting):
    gammas = (GAMMA1, GAMMA1 if variant == 'naive' else GAMMA2)
    model = build(linear(loss=dynamic(*gammas, variant=variant)), mixup={'weighting': weighting})
    images, samples = make_batch(model)
    pairs = slow_weights(logits_of(model, images), labels_of(samples), CONFIDENCES, variant)
    assert [pairs[index][1] for index in HUMAN] == [1, 1]
    assert (pairs[4][1] == 0) == (variant == 'dmt')
    assert (pairs[4][0] == labels_of(samples)[4]) == (variant != 'flip')
    expected = slow_mixup_loss(model, images, pairs, LAM, PARTNER, weighting)
    assert model.loss(images, samples)['loss'].item() == pytest.approx(expected, rel=1e-5)


def test_default_mixup_is_that_of_the_paper():
    mixup = build(mixup={}).mixup
    assert (mixup.alpha, mixup.dominant, mixup.weighting) == (0.75, True, 'image')


def test_weightings_differ(fixed_mixup):
    model, other = build(mixup={}), build(mixup={'weighting': 'term'})
    other.load_state_dict(model.state_dict())
    images, samples = make_batch(model)
    assert model.loss(images, samples)['loss'].item() != pytest.approx(
        other.loss(images, samples)['loss'].item(), rel=0.01
    )


@pytest.mark.parametrize('dominant', [False, True])
def test_lam_and_partners_are_drawn(dominant):
    model = build(mixup={'alpha': 0.5, 'dominant': dominant})
    images, samples = make_batch(model)
    pairs = slow_weights(logits_of(model, images), labels_of(samples), CONFIDENCES)
    lams = []
    for seed in range(4):
        np.random.seed(seed)
        torch.manual_seed(seed)
        lam, partner = np.random.beta(0.5, 0.5), torch.randperm(6).tolist()
        lams.append(lam)
        expected = slow_mixup_loss(model, images, pairs, max(lam, 1 - lam) if dominant else lam, partner, 'image')
        np.random.seed(seed)
        torch.manual_seed(seed)
        assert model.loss(images, samples)['loss'].item() == pytest.approx(expected, rel=1e-5)
    assert min(lams) < 0.5 < max(lams)


def test_a_rejected_label_has_weight_0(monkeypatch):
    # Two images that are their own partner: what is left is the loss of the human label, over two images.
    monkeypatch.setattr(classifier, 'draw_partners', lambda number, device: torch.arange(number))
    model = build(mixup={})
    images, samples = make_batch(model)
    images, samples = images[[0, 4]], [samples[0], samples[4]]
    fresh = logits_of(model, images)
    samples[1] = make_samples([(fresh[1].argmax() + 1) % CLASSES], [0.01])[0]
    losses = model.loss(images, samples)
    expected = F.cross_entropy(fresh[:1], samples[0].gt_label).item() / 2
    assert losses['loss'].item() == pytest.approx(expected, rel=1e-5)
    assert {key: losses[key].item() for key in STATISTICS} == {'disagree': 1, 'student_wins': 1, 'mean_weight': 0}


@pytest.mark.parametrize('mixup', [None, {}])
def test_statistics_are_of_the_pseudo_labels(mixup):
    model = build(mixup=mixup)
    images, samples = make_batch(model)
    pairs = slow_weights(logits_of(model, images), labels_of(samples), CONFIDENCES)
    losses = model(images, samples, mode='loss')
    assert set(losses) == {'loss', *STATISTICS}
    assert losses['disagree'].item() == 0.5
    assert losses['student_wins'].item() == 0.25
    assert losses['mean_weight'].item() == pytest.approx(np.mean([weight for _, weight in pairs[2:]]), rel=1e-5)
    total, log = model.parse_losses(losses)
    assert total.item() == losses['loss'].item()
    assert set(log) >= STATISTICS


def test_without_mixup_by_hand(forwards):
    model = build(head=linear(cal_acc=True))
    images, samples = make_batch(model)
    logits = logits_of(model, images)
    forwards.clear()
    losses = model.loss(images, samples)
    assert [grad for _, grad in forwards] == [True]
    assert forwards[0][0] is images
    labels = torch.tensor(labels_of(samples))
    core, _ = dynamic_mutual_loss(logits, labels, torch.tensor(CONFIDENCES), GAMMA1, GAMMA2, ignore_index=-1)
    torch.testing.assert_close(losses['loss'], core)
    pairs = slow_weights(logits, labels.tolist(), CONFIDENCES)
    single = F.cross_entropy(logits, labels, reduction='none')
    assert losses['loss'].item() == pytest.approx(
        sum(weight * value.item() for (_, weight), value in zip(pairs, single, strict=True)) / 6, rel=1e-5
    )
    assert losses['accuracy_top-1'][0].item() == pytest.approx(100 * 3 / 6)
    # The confidence is gone.
    assert model.dynamic_loss(logits, labels).item() == pytest.approx(single.mean().item(), rel=1e-5)


def test_dynamic_loss_is_that_of_the_head():
    model = build()
    assert model.dynamic_loss is model.head.loss_module
    assert (model.dynamic_loss.gamma1, model.dynamic_loss.gamma2) == (GAMMA1, GAMMA2)


class HalvingHead(LinearClsHead):
    """A head that trains on every second image."""

    def loss(self, feats, data_samples):
        return super().loss(tuple(feat[::2] for feat in feats), data_samples[::2])


def test_head_that_leaves_out_images_is_named_when_it_runs():
    model = build({**linear(), 'type': HalvingHead})
    with pytest.raises(ValueError, match=r'cannot serve head HalvingHead.*\(3,\).*\(6,\)'):
        model.loss(*make_batch(model))


def test_label_255_is_no_ignored_label():
    model = build(head={**linear(), 'num_classes': 300})
    images = torch.randn(2, 3, 8, 8)
    expected = F.cross_entropy(logits_of(model, images), torch.tensor([255, 1]))
    torch.testing.assert_close(model.loss(images, make_samples([255, 1], [2.0, 2.0]))['loss'], expected)


def test_scores_do_not_take_the_place_of_labels():
    # A preprocessor with to_onehot adds gt_score, which heads prefer to gt_label.
    model, other = build(), build(data_preprocessor={'to_onehot': True, 'num_classes': CLASSES})
    other.load_state_dict(model.state_dict())
    images, samples = make_batch(model)
    expected = model.loss(images, samples)
    batch = other.data_preprocessor({'inputs': images, 'data_samples': copy.deepcopy(samples)}, training=True)
    assert 'gt_score' in batch['data_samples'][0]
    assert torch.equal(other(**batch, mode='loss')['loss'], expected['loss'])


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('weighting', ['image', 'term'])
def test_gamma_0_is_exactly_plain_mixup(forwards, seed, weighting):
    mixup = {'alpha': 0.75, 'dominant': False, 'weighting': weighting}
    ours = build(linear(loss=dynamic(0, 0)), mixup=mixup)
    stock = build_stock({'type': 'CrossEntropyLoss', 'use_soft': True})
    stock.load_state_dict(ours.state_dict())
    images, samples = make_batch(ours)
    forwards.clear()

    np.random.seed(seed)
    torch.manual_seed(seed)
    one_hot = F.one_hot(torch.tensor(labels_of(samples)), CLASSES)
    mixed, score = Mixup(alpha=0.75)(images, one_hot)
    logits = stock(mixed)
    expected = F.cross_entropy(logits, score, reduction='none').sum() / 6
    torch.testing.assert_close(
        stock.head.loss_module(logits, score, avg_factor=6), expected, rtol=1e-6, atol=0
    )  # the same but for the order of a sum

    np.random.seed(seed)
    torch.manual_seed(seed)
    losses = ours.loss(images, samples)
    assert torch.equal(losses['loss'], expected)
    assert set(losses) == {'loss'}
    assert [grad for _, grad in forwards] == [True]
    assert torch.equal(forwards[0][0], mixed)
    losses['loss'].backward()
    expected.backward()
    for own, other in zip(ours.parameters(), stock.parameters(), strict=True):
        assert torch.equal(own.grad, other.grad)


def test_human_labels_alone_need_no_weights(forwards, fixed_mixup):
    model = build(mixup={})
    images, samples = make_batch(model)
    labels = labels_of(samples)
    expected = slow_mixup_loss(model, images, [(label, 1.0) for label in labels], LAM, PARTNER, 'image')
    forwards.clear()
    losses = model.loss(images, make_samples(labels, [2.0] * 6))
    assert losses['loss'].item() == pytest.approx(expected, rel=1e-5)
    assert [grad for _, grad in forwards] == [True]
    # Without the word of PackDMTInputs, weights are computed, and are 1.
    unsaid = model.loss(images, [sample.set_metainfo(dict(human_label=False)) or sample for sample in
                                 make_samples(labels, [2.0] * 6)])['loss']  # fmt: skip
    torch.testing.assert_close(unsaid, losses['loss'])
    # Figures of an earlier batch are not shown again.
    assert set(model.loss(images, samples)) > STATISTICS
    assert set(model.loss(images, make_samples(labels, [2.0] * 6))) == {'loss'}


def test_weights_are_of_the_unmixed_batch_and_have_no_gradient(forwards, fixed_mixup):
    model = build(mixup={})
    images, samples = make_batch(model)
    pairs = slow_weights(logits_of(model, images), labels_of(samples), CONFIDENCES)
    reference = copy.deepcopy(model)
    forwards.clear()
    model.loss(images, samples)['loss'].backward()
    assert [grad for _, grad in forwards] == [False, True]
    assert forwards[0][0] is images

    mixed = LAM * images + (1 - LAM) * images[PARTNER]
    target = torch.zeros(6, CLASSES)
    for i, j in enumerate(PARTNER):
        weight = LAM * pairs[i][1] + (1 - LAM) * pairs[j][1]
        target[i, pairs[i][0]] += LAM * weight
        target[i, pairs[j][0]] += (1 - LAM) * weight
    (-(target * reference(mixed).log_softmax(1)).sum() / 6).backward()
    for own, other in zip(model.parameters(), reference.parameters(), strict=True):
        assert own.grad.any()
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_batch_norm_counts_a_batch_once(fixed_mixup):
    model = build(mixup={})
    images, samples = make_batch(model)
    before = {name: value.clone() for name, value in model.named_buffers()}
    reference = copy.deepcopy(model)
    reference(LAM * images + (1 - LAM) * images[PARTNER])
    model.loss(images, samples)
    buffers = dict(model.named_buffers())
    assert len(buffers) == 3 * 7  # a norm has three, and the network seven norms
    for name, value in reference.named_buffers():
        assert torch.equal(buffers[name], value), name
        assert not torch.equal(before[name], value), name
    assert buffers['backbone.norm.num_batches_tracked'] == 1


def test_first_forward_uses_the_statistics_of_the_batch():
    model = build(mixup={})
    images, _ = make_batch(model)
    with frozen_batch_norm(model):
        frozen = model(images)
    assert torch.equal(frozen, logits_of(model, images))
    assert not torch.allclose(frozen, copy.deepcopy(model).eval()(images), rtol=0.1)


def test_batch_norm_in_evaluation_mode_stays_so():
    norm = nn.BatchNorm2d(2).eval()
    norm.running_mean.fill_(3.0)
    norm.running_var.fill_(4.0 - norm.eps)
    images = torch.randn(4, 2, 3, 3)
    with frozen_batch_norm(nn.Sequential(norm)):
        torch.testing.assert_close(norm(images), (images - 3) / 2)


@pytest.mark.parametrize(
    ('norm', 'shape'),
    [(nn.BatchNorm1d, (4, 2)), (nn.BatchNorm2d, (4, 2, 3, 3)), (nn.BatchNorm3d, (4, 2, 3, 3, 3)),
     (nn.SyncBatchNorm, (4, 2, 3, 3))],
)  # fmt: skip
def test_frozen_batch_norm_by_type(norm, shape):
    norms = nn.Sequential(norm(2), norm(2, track_running_stats=False))
    state = copy.deepcopy(norms.state_dict())
    values = torch.randn(shape)
    expected = copy.deepcopy(norms)(values)
    with frozen_batch_norm(norms):
        assert [module.track_running_stats for module in norms] == [False, False]
        assert torch.equal(norms(values), expected)
    assert [module.track_running_stats for module in norms] == [True, False]
    for name, value in norms.state_dict().items():
        assert torch.equal(value, state[name])
    norms(values)
    assert not torch.equal(norms[0].running_mean, state['0.running_mean'])


def test_frozen_batch_norm_ends_with_an_error(monkeypatch):
    model = build(mixup={})
    images, samples = make_batch(model)

    def fail(self, feats):
        assert not model.backbone.norm.track_running_stats
        raise RuntimeError('out of memory')

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match='out of memory'):
        patch.setattr(type(model.head), 'forward', fail)
        model.loss(images, samples)
    assert all(module.track_running_stats for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    assert torch.isfinite(model.loss(images, samples)['loss'])


def test_confidence_is_taken_back_after_an_error():
    model = build()
    images, samples = make_batch(model)
    with pytest.raises(RuntimeError, match='channels'):
        model.loss(images[:, :2], samples)
    logits, labels = logits_of(model, images), torch.tensor(labels_of(samples))
    torch.testing.assert_close(model.dynamic_loss(logits, labels), F.cross_entropy(logits, labels))


@pytest.mark.parametrize('mixup', [None, {}])
def test_bfloat16_autocast(monkeypatch, mixup, fixed_mixup):
    # Confidences and gammas with which a change of the rounding is no other case.
    model = build(linear(loss=dynamic(1.5, 1.5)), mixup=mixup)
    images, samples = make_batch(model)
    samples[5].set_field(torch.tensor(0.9), 'gt_confidence')
    reference = copy.deepcopy(model)
    weights = []

    def record(images, one_hot, weight, *args):
        weights.append((weight, one_hot))
        return mix(images, one_hot, weight, *args)

    mix = classifier.mixup
    monkeypatch.setattr(classifier, 'mixup', record)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = model.loss(images, samples)
        assert model(images).dtype == torch.bfloat16
    assert losses['loss'].dtype == torch.float32
    losses['loss'].backward()
    expected = reference.loss(images, samples)['loss']
    expected.backward()
    assert losses['loss'].item() == pytest.approx(expected.item(), rel=0.05)
    for (name, own), other in zip(model.named_parameters(), reference.parameters(), strict=True):
        assert own.grad is not None, name
        assert own.grad.any(), name
        assert F.cosine_similarity(own.grad.flatten(), other.grad.flatten(), dim=0) > 0.9, name
    if mixup is not None:
        assert [tensor.dtype for tensor in weights[0]] == [torch.float32, torch.float32]
        torch.testing.assert_close(weights[0][0], weights[1][0], rtol=0.05, atol=0.01)


def test_autocast_cache_is_cleared_before_the_second_forward(monkeypatch):
    # An older torch gives the casts of a forward without gradient to the one with gradient.
    model = build(mixup={})
    images, samples = make_batch(model)
    events = []
    extract_feat = model.extract_feat
    monkeypatch.setattr(torch, 'clear_autocast_cache', lambda: events.append('clear'))
    monkeypatch.setattr(model, 'extract_feat', lambda inputs: events.append('forward') or extract_feat(inputs))
    model.loss(images, samples)
    assert events == ['forward', 'clear', 'forward']


@pytest.mark.parametrize('mixup', [None, {}])
def test_ramp_scales_both_gammas(fixed_mixup, mixup):
    scale = math.exp(-5 * 0.5**2)
    scaled = build(linear(loss=dynamic(scale * GAMMA1, scale * GAMMA2)), mixup=mixup)
    model = build(linear(loss=dynamic(ramp=True)), mixup=mixup)
    model.load_state_dict(scaled.state_dict())
    images, samples = make_batch(model)
    full = model.loss(images, samples)['loss'].item()
    model.dynamic_loss.set_progress(0.5)
    assert model.loss(images, samples)['loss'].item() == scaled.loss(images, samples)['loss'].item() > full
    model.dynamic_loss.set_progress(1.0)
    assert model.loss(images, samples)['loss'].item() == full


def test_prediction_has_log_odds():
    model = build(mixup={}).eval()
    images = torch.randn(5, 3, 8, 8)
    samples = [DataSample(metainfo={'img_path': str(index)}) for index in range(5)]
    predictions = model(images, samples, mode='predict')
    logits = model(images)
    assert [prediction.img_path for prediction in predictions] == list('01234')
    for row, prediction in zip(logits.tolist(), predictions, strict=True):
        top = max(range(CLASSES), key=row.__getitem__)
        others = math.log(sum(math.exp(value) for index, value in enumerate(row) if index != top))
        assert prediction.pred_label.item() == top
        assert prediction.log_odds.dtype == torch.float32
        assert prediction.log_odds.shape == ()
        assert prediction.log_odds.item() == pytest.approx(row[top] - others, abs=1e-5)
        assert prediction.log_odds.sigmoid().item() == pytest.approx(prediction.pred_score.max().item(), abs=1e-6)


def test_log_odds_are_finer_than_scores():
    model = build().eval()
    with torch.no_grad():
        model.head.fc.weight.zero_()
        found = []
        for logit in (20.0, 25.0):
            model.head.fc.bias.copy_(torch.tensor([0.0, logit, 0.0]))
            (prediction,) = model.predict(torch.randn(1, 3, 8, 8))
            assert prediction.pred_score.max() == 1
            assert prediction.pred_label == 1
            found.append(prediction.log_odds.item())
    assert found == pytest.approx([20 - math.log(2), 25 - math.log(2)])


@pytest.mark.parametrize(
    ('head', 'message'),
    [
        ({'type': 'MultiLabelLinearClsHead', 'num_classes': 3, 'in_channels': 64}, 'MultiLabelLinearClsHead'),
        (linear(loss={'type': 'CrossEntropyLoss'}), 'LinearClsHead with loss CrossEntropyLoss'),
        (linear(loss={'type': 'LabelSmoothLoss', 'label_smooth_val': 0.1}), 'with loss LabelSmoothLoss'),
    ],
)
def test_heads_that_are_refused(head, message):
    with pytest.raises(ValueError, match=rf'ClsHead with loss=dict\(type=.DynamicMutualLoss.*got head.*{message}'):
        build(head)


def test_no_head_is_refused():
    with pytest.raises(ValueError, match='got head NoneType with loss NoneType'):
        DMTImageClassifier(backbone={'type': 'WideResNet', 'depth': 10, 'width': 1})


def test_mixup_needs_the_number_of_classes():
    head = {'type': 'ClsHead', 'loss': dynamic()}
    with pytest.raises(ValueError, match='mixup needs a head with num_classes, but ClsHead has none'):
        build(head, mixup={})
    model = build(head)
    assert set(model.loss(torch.randn(2, 3, 8, 8), make_samples([1, 2], [2.0, 0.5]))) == {'loss', *STATISTICS}


@pytest.mark.parametrize(
    'kwargs',
    [{'train_cfg': {'augments': {'type': 'Mixup', 'alpha': 0.8}}},
     {'data_preprocessor': {'batch_augments': {'augments': {'type': 'CutMix', 'alpha': 1.0}}, 'num_classes': 3}}],
)  # fmt: skip
@pytest.mark.parametrize('mixup', [None, {}])
def test_batch_augments_are_refused(kwargs, mixup):
    with pytest.raises(ValueError, match=r'batch_augments.*use mixup=dict\(alpha=\.\.\.\) of the model instead'):
        build(mixup=mixup, **kwargs)


def test_accuracy_with_mixup_is_refused():
    with pytest.raises(ValueError, match=r'head\.cal_acc=True has no meaning with mixup'):
        build(linear(cal_acc=True), mixup={})


@pytest.mark.parametrize('alpha', [0, -0.5, math.nan, math.inf])
def test_bad_alpha_is_refused(alpha):
    with pytest.raises(ValueError, match=rf'mixup\.alpha={alpha} must be a finite number above 0'):
        build(mixup={'alpha': alpha})


def test_bad_weighting_is_refused():
    with pytest.raises(ValueError, match=r"mixup\.weighting='pixel' is not one of \('image', 'term'\)"):
        build(mixup={'weighting': 'pixel'})


def test_unknown_mixup_key_is_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'beta'"):
        build(mixup={'beta': 1.0})


@pytest.mark.parametrize('mixup', [None, {}])
def test_samples_without_confidence_or_with_two_labels_are_refused(mixup):
    model = build(mixup=mixup)
    images = torch.randn(2, 3, 8, 8)
    good = make_samples([1], [0.5])
    plain = DataSample(metainfo={'img_path': 'a/b.png'}).set_gt_label(1)
    with pytest.raises(ValueError, match=r"image 'a/b\.png' needs gt_confidence and exactly one gt_label: use PackDMT"):
        model.loss(images, [*good, plain])
    two = DataSample().set_gt_label([1, 2])
    two.set_field(torch.tensor(0.5), 'gt_confidence')
    with pytest.raises(ValueError, match="image '' needs gt_confidence and exactly one gt_label"):
        model.loss(images, [*good, two])


@pytest.mark.parametrize('mixup', [None, {}])
def test_labels_of_an_ordinary_pipeline_are_human(mixup):
    """An ordinary run of the baselines packs no confidence: the loss is that of confidence 2."""
    model = build(mixup=mixup)
    images = torch.randn(4, 3, 8, 8)
    plain = [DataSample().set_gt_label(label) for label in (0, 1, 2, 1)]
    found = []
    for samples in (plain, make_samples((0, 1, 2, 1), [2.0] * 4)):
        torch.manual_seed(0)
        np.random.seed(0)
        found.append(copy.deepcopy(model).loss(images, samples)['loss'].item())
    assert found[0] == found[1] > 0


def test_head_with_several_scores_is_refused():
    model = build({**linear([8, 8]), 'type': 'ConformerHead'})
    with pytest.raises(ValueError, match=r'cannot serve head ConformerHead: it must give one tensor .*got tuple'):
        model._logits(([torch.randn(1, 8), torch.randn(1, 8)],))


TINY_VIT = {'embed_dims': 16, 'num_layers': 2, 'num_heads': 2, 'feedforward_channels': 32}
TINY_MIXER = {'embed_dims': 16, 'num_layers': 2, 'tokens_mlp_dims': 8, 'channels_mlp_dims': 32}
TINY_SWIN = {'embed_dims': 8, 'depths': [1] * 4, 'num_heads': [1, 1, 2, 2]}
TINY_REPVGG = {'num_blocks': [1] * 4, 'width_factor': [0.125] * 4, 'group_layer_map': None, 'se_cfg': None}
# type of a stock backbone: its arguments, the channels it ends with, its neck, and what its head has of its own
ARCHITECTURES = {
    'ResNet_CIFAR': ({'depth': 18, 'base_channels': 8, 'stem_channels': 8}, 64, GAP, {}),
    'ResNet': ({'depth': 18, 'base_channels': 8, 'stem_channels': 8}, 64, GAP, {}),
    'ResNeXt': ({'depth': 50, 'groups': 4, 'width_per_group': 4, 'base_channels': 16}, 512, GAP, {}),
    'SEResNet': ({'depth': 50, 'se_ratio': 4, 'base_channels': 8}, 256, GAP, {}),
    'VGG': ({'depth': 11, 'norm_cfg': {'type': 'BN'}}, 512, GAP, {}),
    'MobileNetV2': ({'widen_factor': 0.25}, 1280, GAP, {}),
    'MobileNetV3': (
        {'arch': 'small_050'},
        288,
        GAP,
        {'type': 'StackedLinearClsHead', 'mid_channels': [16], 'act_cfg': {'type': 'HSwish'}},
    ),
    'ShuffleNetV1': ({'groups': 3, 'widen_factor': 0.5}, 480, GAP, {}),
    'ShuffleNetV2': ({'widen_factor': 0.5}, 1024, GAP, {}),
    'RegNet': ({'arch': 'regnetx_400mf'}, 384, GAP, {}),
    'EfficientNet': ({'arch': 'b0'}, 1280, GAP, {}),
    'DenseNet': ({'arch': {'growth_rate': 4, 'depths': [1] * 4, 'init_channels': 8}}, 8, GAP, {}),
    'RepVGG': ({'arch': TINY_REPVGG}, 64, GAP, {}),
    'ConvNeXt': ({'arch': {'depths': [1] * 4, 'channels': [8, 16, 24, 32]}, 'drop_path_rate': 0.1}, 32, None, {}),
    'VisionTransformer': (
        {'arch': TINY_VIT, 'img_size': 32, 'patch_size': 8},
        16,
        None,
        {'type': 'VisionTransformerClsHead'},
    ),
    'SwinTransformer': ({'arch': TINY_SWIN, 'img_size': 32, 'patch_size': 1, 'window_size': 4}, 64, GAP, {}),
    'MlpMixer': ({'arch': TINY_MIXER, 'img_size': 32, 'patch_size': 8}, 16, {**GAP, 'dim': 1}, {}),
}


@pytest.mark.parametrize('name', ARCHITECTURES)
def test_one_step_of_a_stock_backbone(name):
    arguments, channels, neck, head = ARCHITECTURES[name]
    common = {'backbone': {'type': name, **arguments}, 'neck': neck}
    model = build({**linear(channels), **head}, mixup={}, **common)
    losses = model.loss(torch.randn(4, 3, 32, 32), make_samples([0, 1, 2, 0], [2.0, 2.0, 0.9, 0.5]))
    assert set(losses) == {'loss', *STATISTICS}
    assert 0 < losses['loss'] < 3
    losses['loss'].backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
    # The first layer is what gradients reach last.
    assert next(value for value in model.backbone.parameters() if value.ndim == 4).grad.any()
    (prediction,) = model.eval().predict(torch.randn(1, 3, 32, 32))
    assert prediction.log_odds.isfinite()
    assert prediction.pred_score.shape == (CLASSES,)
    stock = build({**linear(channels, {'type': 'CrossEntropyLoss'}), **head}, 'ImageClassifier', **common)
    stock.load_state_dict(model.state_dict(), strict=True)

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS
from torch import nn
from torch.nn import functional as F

from mmdmt.core.dynamic_weight import dynamic_weight
from mmdmt.losses.dynamic_mutual_loss import DynamicMutualLoss
from mmdmt.seg.segmentor import stack_confidence

STATISTICS = {'disagree', 'student_wins', 'mean_weight'}
PLAIN = {'type': 'CrossEntropyLoss'}
DYNAMIC = {'type': 'DynamicMutualLoss', 'gamma1': 2.0, 'gamma2': 1.0}


@pytest.fixture
def build(backbone):
    def build(decode_head, type_='DMTEncoderDecoder', size=(16, 16), **kwargs):
        preprocessor = {'type': 'SegDataPreProcessor', 'mean': [99.0, 100.0, 101.0], 'std': [50.0, 60.0, 70.0],
                        'bgr_to_rgb': True, 'size': size, 'seg_pad_val': 255}  # fmt: skip
        config = {'type': type_, 'backbone': backbone, 'data_preprocessor': preprocessor, 'decode_head': decode_head}
        return MODELS.build(ConfigDict({**config, 'train_cfg': {}, 'test_cfg': {'mode': 'whole'}, **kwargs}))

    return build


@pytest.fixture
def ocr(fcn):
    """Heads of a cascade: FCNHead, then OCRHead."""
    norm = {'norm_cfg': {'type': 'BN'}}
    last = {**fcn(type='OCRHead', ocr_channels=4, **norm)}
    for key in ('num_convs', 'concat_input'):
        del last[key]
    return [fcn(), last]


@pytest.fixture
def build_cascade(build):
    def build_cascade(heads, **kwargs):
        return build(heads, type_='DMTCascadeEncoderDecoder', num_stages=2, **kwargs)

    return build_cascade


def losses_in(model):
    return [module for module in model.modules() if isinstance(module, DynamicMutualLoss)]


@pytest.fixture
def seen(monkeypatch):
    """Of each call of a dynamic loss: the loss, its confidence and the name of its head, and the label."""
    calls = []
    forward = DynamicMutualLoss.forward

    def record(self, cls_score, label, **kwargs):
        calls.append((self, *self._batch, label))
        return forward(self, cls_score, label, **kwargs)

    monkeypatch.setattr(DynamicMutualLoss, 'forward', record)
    return calls


def step(model, batch):
    return model(**model.data_preprocessor(batch, training=True), mode='loss')


@pytest.mark.parametrize('auxiliary', [False, True])
def test_state_dict_is_the_stock_one(build, fcn, auxiliary):
    def heads(loss):
        kwargs = {'auxiliary_head': [fcn(in_channels=4, channels=4, in_index=0, loss_decode=loss)]} if auxiliary else {}
        return {'decode_head': fcn(loss_decode=loss), **kwargs}

    ours, stock = build(**heads(DYNAMIC)), build(type_='EncoderDecoder', **heads(PLAIN))
    assert list(ours.state_dict()) == list(stock.state_dict())
    image = torch.rand(1, 3, 16, 16)
    assert not torch.equal(ours(image), stock(image))
    stock.load_state_dict(ours.state_dict(), strict=True)
    assert torch.equal(ours(image), stock(image))
    ours.load_state_dict(build(type_='EncoderDecoder', **heads(PLAIN)).state_dict(), strict=True)


def test_state_dict_is_the_stock_one_after_a_step(build, fcn, make_sample, collate):
    loss = {**DYNAMIC, 'ramp': True}
    ours, stock = build(fcn(loss_decode=loss)), build(fcn(loss_decode=PLAIN), type_='EncoderDecoder')
    ours.dynamic_loss.set_progress(0.5)
    step(ours, collate(make_sample(), make_sample(seed=1)))
    assert list(ours.state_dict()) == list(stock.state_dict())
    other = copy.deepcopy(ours)  # as an EMA of the weights does
    assert other.dynamic_loss.statistics == ours.dynamic_loss.statistics
    assert other.dynamic_loss is not ours.dynamic_loss


def test_cascade_state_dict_is_the_stock_one(build_cascade, build, ocr):
    ours = build_cascade(ocr)
    stock = [{**head, 'loss_decode': PLAIN} for head in ocr]
    stock = build(stock, type_='CascadeEncoderDecoder', num_stages=2)
    assert list(ours.state_dict()) == list(stock.state_dict())
    stock.load_state_dict(ours.state_dict(), strict=True)
    ours.load_state_dict(stock.state_dict(), strict=True)


def test_loss_by_hand(build, fcn, make_sample, collate):
    model = build(fcn())
    batch = collate(make_sample(seed=1), make_sample(seed=2))
    label = torch.cat([sample.gt_sem_seg.data for sample in batch['data_samples']])
    label[0, :3] = 255
    batch['data_samples'][0].gt_sem_seg.data[0, :3] = 255
    confidence = torch.cat([sample.gt_confidence.data for sample in batch['data_samples']])
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ([99.0, 100.0, 101.0], [50.0, 60.0, 70.0]))
    images = torch.stack([(image.flip(0) - mean) / std for image in batch['inputs']])

    logits = F.interpolate(model.decode_head(model.backbone(images)), size=(16, 16), mode='bilinear')
    decision = dynamic_weight(logits, label, confidence, 2.0, 1.0)
    single = F.cross_entropy(logits, label, ignore_index=255, reduction='none')
    expected = (decision.weight * single).sum() / (label != 255).sum()

    losses = step(model, batch)
    torch.testing.assert_close(losses['decode.loss_dmt'], expected)
    pseudo = (label != 255) & (confidence <= 1)
    assert 0 < decision.student_wins.sum() < decision.disagree.sum() < pseudo.sum()
    assert losses['disagree'].item() == pytest.approx(decision.disagree[pseudo].float().mean().item())
    assert losses['student_wins'].item() == pytest.approx(decision.student_wins[pseudo].float().mean().item())
    assert losses['mean_weight'].item() == pytest.approx(decision.weight[pseudo].mean().item())


def test_figures_are_logged_but_not_trained_on(build, fcn, make_sample, collate):
    model = build(fcn())
    losses = step(model, collate(make_sample()))
    assert set(losses) >= STATISTICS
    total, log = model.parse_losses(losses)
    assert total.item() == losses['decode.loss_dmt'].item()
    assert set(log) >= STATISTICS


def test_without_confidence_it_is_the_stock_segmentor(build, fcn, make_sample, collate):
    plain = {'type': 'CrossEntropyLoss', 'avg_non_ignore': True}
    ours, stock = build(fcn()), build(fcn(loss_decode=plain), type_='EncoderDecoder')
    stock.load_state_dict(ours.state_dict())
    samples = [make_sample(12, 10, confidence=False, seed=seed) for seed in range(2)]
    expected = step(stock, copy.deepcopy(collate(*samples)))
    losses = step(ours, collate(*samples))
    torch.testing.assert_close(losses.pop('decode.loss_dmt'), expected.pop('decode.loss_ce'))
    assert losses == expected


@pytest.mark.parametrize('as_list', [False, True])
def test_confidence_reaches_all_heads(build, fcn, make_sample, collate, seen, as_list):
    auxiliary = fcn(in_channels=4, channels=4, in_index=0)
    model = build(fcn(), auxiliary_head=[auxiliary, auxiliary] if as_list else auxiliary)
    samples = [make_sample(seed=seed) for seed in range(3)]
    losses = step(model, collate(*samples))
    assert [call[0] for call in seen] == losses_in(model)
    assert len(seen) == (3 if as_list else 2)
    for _, confidence, _, _ in seen:
        assert torch.equal(confidence, torch.cat([sample['data_samples'].gt_confidence.data for sample in samples]))
    # the figures are those of the decode head
    assert model.dynamic_loss is model.decode_head.loss_decode
    assert losses['disagree'] == model.decode_head.loss_decode.statistics.disagree
    assert losses['disagree'] != losses_in(model)[-1].statistics.disagree


@pytest.mark.parametrize('size', [(16, 16), (24, 20)])
def test_padded_batch(build, fcn, make_sample, collate, seen, size):
    shapes = [(10, 12), (16, 8), (16, 16)]
    samples = [make_sample(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    expected = [
        (sample['data_samples'].gt_sem_seg.data[0].clone(), sample['data_samples'].gt_confidence.data[0].clone())
        for sample in samples
    ]
    step(build(fcn(), size=size), collate(*samples))
    ((_, confidences, _, labels),) = seen
    assert labels.shape == confidences.shape == (3, *size)
    for (height, width), own, label, confidence in zip(shapes, expected, labels, confidences, strict=True):
        assert torch.equal(label[:height, :width], own[0])
        assert torch.equal(confidence[:height, :width], own[1])
        outside = torch.ones(size, dtype=torch.bool)
        outside[:height, :width] = False
        assert (label[outside] == 255).all()
        assert (confidence[outside] == 2).all()


def test_padding_changes_no_loss(build, fcn, make_sample, collate):
    """N counts valid pixels: a 1x1 classifier without resizing sees the same pixels with and without padding."""
    head = fcn(in_channels=3, channels=3, in_index=0)
    model = build(head, backbone={'type': Pixels}, size=(24, 20))
    unpadded = build(head, backbone={'type': Pixels}, size=(10, 12))
    unpadded.load_state_dict(model.state_dict())
    losses = [step(one, collate(make_sample(10, 12)))['decode.loss_dmt'] for one in (model, unpadded)]
    torch.testing.assert_close(*losses)


class Pixels(nn.Module):
    """A backbone that gives the image."""

    def forward(self, inputs):
        return (inputs,)


def test_confidence_is_gone_after_the_loss(build, fcn, make_sample, collate, monkeypatch):
    model = build(fcn(), auxiliary_head=fcn())
    scores, label = torch.randn(1, 3, 16, 16), torch.randint(0, 3, (1, 16, 16))

    def unweighted():
        return [torch.allclose(loss(scores, label), F.cross_entropy(scores, label)) for loss in losses_in(model)]

    step(model, collate(make_sample()))
    assert unweighted() == [True, True]

    def diverged(*_):
        assert unweighted() == [False, False]
        raise RuntimeError('out of memory')

    monkeypatch.setattr(model.auxiliary_head, 'forward', diverged)
    with pytest.raises(RuntimeError, match='out of memory'):
        step(model, collate(make_sample()))
    assert unweighted() == [True, True]


def test_figures_of_an_earlier_batch_are_not_logged(build, fcn, make_sample, collate):
    model = build(fcn())
    step(model, collate(make_sample()))
    assert not STATISTICS & set(step(model, collate(make_sample(confidence=False))))


@pytest.mark.parametrize('have', [(True, False, False), (False, True, False)])
def test_mixed_batch_is_refused(build, fcn, make_sample, collate, have):
    batch = collate(*(make_sample(confidence=one) for one in have))
    with pytest.raises(ValueError, match='2 of 3 images of a batch have no gt_confidence: use LoadDMTAnnotations'):
        step(build(fcn()), batch)


def test_stack_confidence_without_preprocessor(make_sample):
    samples = [make_sample(4, 5, seed=seed)['data_samples'] for seed in range(2)]
    stacked = stack_confidence(samples)
    assert (stacked.shape, stacked.dtype) == ((2, 4, 5), torch.float32)
    assert torch.equal(stacked[1], samples[1].gt_confidence.data[0])
    samples[1].set_data({'gt_confidence': PixelData(data=torch.full((1, 4, 5), 2.0))})
    assert (stack_confidence(samples)[1] == 2).all()


def test_copy_serves_its_own_heads(build, fcn, make_sample, collate, seen):
    """EMAHook deep-copies the model."""
    model = build(fcn())
    other = copy.deepcopy(model)
    step(other, collate(make_sample()))
    ((loss, confidence, _, _),) = seen
    assert loss is other.decode_head.loss_decode
    assert loss is not model.decode_head.loss_decode
    assert confidence is not None


class MaskHead(nn.Module):
    """A head like Mask2Former's: it is no BaseDecodeHead and matches masks."""

    align_corners, num_classes, out_channels = False, 3, 3

    def __init__(self):
        super().__init__()
        self.loss_decode = DynamicMutualLoss()


class HalvingHead(FCNHead):
    """A head that compares labels at half of their size, as some real-time heads do."""

    def loss_by_feat(self, seg_logits, batch_data_samples):
        label = torch.cat([sample.gt_sem_seg.data for sample in batch_data_samples])[:, ::2, ::2]
        return {'loss_half': self.loss_decode(F.interpolate(seg_logits, size=label.shape[1:]), label)}


@pytest.mark.parametrize('place', ['decode_head', 'auxiliary_head'])
def test_mask_classification_is_refused(build, fcn, place):
    heads = {'decode_head': fcn(), place: {'type': MaskHead}}
    with pytest.raises(ValueError, match=f'{place} MaskHead: it is not built on BaseDecodeHead'):
        build(**heads)


@pytest.mark.parametrize('place', ['decode_head', 'auxiliary_head'])
def test_one_channel_for_two_classes_is_refused(build, fcn, place):
    heads = {'decode_head': fcn(), place: fcn(num_classes=2, out_channels=1)}
    with pytest.raises(ValueError, match=f'{place} FCNHead: it has out_channels=1 for 2 classes'):
        build(**heads)


def test_head_that_resizes_labels_is_named_when_it_runs(build, fcn, make_sample, collate):
    model = build(fcn(), auxiliary_head=fcn(type=HalvingHead))
    with pytest.raises(ValueError, match=r'auxiliary_head HalvingHead.*\(1, 8, 8\).*\(1, 16, 16\)'):
        step(model, collate(make_sample()))


def point_rend(fcn, loss):
    first = {'type': 'FPNHead', 'in_channels': [4, 6], 'in_index': [0, 1], 'feature_strides': [2, 4], 'channels': 8,
             'num_classes': 3, 'dropout_ratio': 0, 'align_corners': False, 'loss_decode': DYNAMIC}  # fmt: skip
    last = {'type': 'PointHead', 'in_channels': [4], 'in_index': [0], 'channels': 8, 'num_fcs': 1, 'num_classes': 3,
            'dropout_ratio': 0, 'align_corners': False, 'loss_decode': loss}  # fmt: skip
    return [first, last]


@pytest.mark.parametrize('loss', [DYNAMIC, PLAIN])
def test_point_rend_is_refused(build_cascade, fcn, monkeypatch, loss):
    # An mmcv without compiled operators has none; the head only looks whether it is there.
    monkeypatch.setattr('mmseg.models.decode_heads.point_head.point_sample', lambda *_, **__: None)
    with pytest.raises(ValueError, match='decode_head PointHead: it computes its loss at sampled points'):
        build_cascade(point_rend(fcn, loss))


def test_missing_dynamic_loss_is_refused(build, fcn, build_cascade, ocr):
    with pytest.raises(ValueError, match='DMTEncoderDecoder: decode_head FCNHead has no DynamicMutualLoss; set its'):
        build(fcn(loss_decode=PLAIN), auxiliary_head=fcn())
    ocr[1]['loss_decode'] = PLAIN
    with pytest.raises(ValueError, match='DMTCascadeEncoderDecoder: decode_head OCRHead has no DynamicMutualLoss'):
        build_cascade(ocr)


def test_one_of_several_losses_may_be_dynamic(build, fcn, make_sample, collate, seen):
    losses = [{**DYNAMIC, 'loss_weight': 0.5}, {**PLAIN, 'loss_name': 'loss_plain'}]
    model = build(fcn(loss_decode=losses))
    result = step(model, collate(make_sample()))
    assert {'decode.loss_dmt', 'decode.loss_plain', *STATISTICS} <= set(result)
    assert model.dynamic_loss is model.decode_head.loss_decode[0]
    assert seen[0][1] is not None


def test_cascade(build_cascade, ocr, make_sample, collate, seen):
    model = build_cascade(ocr, auxiliary_head=ocr[0])
    samples = [make_sample(10, 12, seed=0), make_sample(16, 16, seed=1)]
    losses = step(model, collate(*samples))
    assert {'decode_0.loss_dmt', 'decode_1.loss_dmt', 'aux.loss_dmt', *STATISTICS} <= set(losses)
    assert [call[0] for call in seen] == losses_in(model)
    assert all(torch.equal(call[1][0, :10, :12], samples[0]['data_samples'].gt_confidence.data[0]) for call in seen)
    first, last = (head.loss_decode for head in model.decode_head)
    assert [call[2] for call in seen] == ['decode_head FCNHead', 'decode_head OCRHead', 'auxiliary_head FCNHead']
    assert model.dynamic_loss is last
    assert losses['disagree'] == last.statistics.disagree
    assert losses['mean_weight'] != first.statistics.mean_weight


def test_trains_and_predicts(build, fcn, make_sample, collate):
    model = build(fcn())
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    batch = collate(make_sample(seed=0), make_sample(seed=1))
    # With human labels alone the loss must fall; the weights of pseudo labels rise while a model learns them.
    batch['data_samples'][0].gt_confidence.data.fill_(2.0)
    batch['data_samples'][1].gt_confidence.data.fill_(2.0)
    before = copy.deepcopy(model.state_dict())
    logged = [model.train_step(copy.deepcopy(batch), optimizer)['loss'].item() for _ in range(3)]
    assert logged[2] < logged[0]
    assert all(not torch.equal(before[name], value) for name, value in model.named_parameters())
    prediction = model.eval().test_step(collate(make_sample()))[0]
    assert prediction.pred_sem_seg.data.shape == (1, 16, 16)

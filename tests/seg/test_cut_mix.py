"""CutMix in a segmentor: what its heads are given."""

import copy

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from mmdmt.losses.dynamic_mutual_loss import DynamicMutualLoss


class Recorder(nn.Module):
    """A backbone that gives the image, and keeps it."""

    def forward(self, inputs):
        self.inputs = inputs
        return (inputs,)


@pytest.fixture
def build(fcn):
    def build(**kwargs):
        preprocessor = {'type': 'SegDataPreProcessor', 'mean': [0.0] * 3, 'std': [1.0] * 3, 'size': (16, 16),
                        'seg_pad_val': 255}  # fmt: skip
        head = fcn(in_channels=3, channels=3, in_index=0, num_classes=9)
        return MODELS.build({'type': 'DMTEncoderDecoder', 'backbone': {'type': Recorder}, 'decode_head': head,
                             'data_preprocessor': preprocessor, 'train_cfg': {}, 'test_cfg': {}, **kwargs})  # fmt: skip

    return build


@pytest.fixture
def seen(monkeypatch):
    """Confidence, label and samples' other fields of the last step."""
    found = {}
    forward = DynamicMutualLoss.forward

    def record(self, cls_score, label, **kwargs):
        found.update(confidence=self.confidence, label=label)
        return forward(self, cls_score, label, **kwargs)

    monkeypatch.setattr(DynamicMutualLoss, 'forward', record)
    return found


def batch_of(pseudo, sizes=None):
    """Images whose pixels, labels and confidences all say which image they are of."""
    samples, inputs = [], []
    for number, is_pseudo in enumerate(pseudo):
        height, width = (16, 16) if sizes is None else sizes[number]
        inputs.append(torch.full((3, height, width), number + 1, dtype=torch.uint8))
        sample = SegDataSample(metainfo={'img_shape': (height, width)})
        sample.gt_sem_seg = PixelData(data=torch.full((1, height, width), number, dtype=torch.int64))
        confidence = number / 16 if is_pseudo else 2.0
        sample.set_data({'gt_confidence': PixelData(data=torch.full((1, height, width), confidence))})
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def step(model, batch):
    return model(**model.data_preprocessor(batch, training=True), mode='loss')


def test_image_label_and_confidence_move_together(build, seen):
    np.random.seed(1)
    model = build(cut_mix={'area': 0.4})
    step(model, batch_of([False, True, False, True, True]))
    images, label, confidence = model.backbone.inputs, seen['label'], seen['confidence']
    for number in (0, 2):
        assert (images[number] == number + 1).all()
        assert (label[number] == number).all()
        assert (confidence[number] == 2).all()
    sources = set()
    for number in (1, 3, 4):
        assert torch.equal(images[number, 0].long() - 1, label[number])
        assert torch.equal(confidence[number], label[number] / 16)
        other = label[number] != number
        (source,) = label[number][other].unique().tolist()
        sources.add(source)
        assert other.float().mean().item() == pytest.approx(0.4, abs=0.05)
        rows, columns = other.any(1), other.any(0)
        assert other.sum() == rows.sum() * columns.sum()  # a rectangle
    assert sources == {1, 3, 4}


def test_padded_images(build, seen):
    """What the data preprocessor adds is mixed like the rest: it stays without label."""
    np.random.seed(2)
    model = build(cut_mix={})
    step(model, batch_of([True, True, False], sizes=[(16, 16), (10, 12), (9, 16)]))
    images, label, confidence = model.backbone.inputs, seen['label'], seen['confidence']
    padding = label == 255
    assert (images[:, 0][padding] == 0).all()
    assert (confidence[padding] == 2).all()
    assert torch.equal(images[:, 0][~padding].long() - 1, label[~padding])
    own = torch.zeros(16, 16, dtype=torch.bool)
    own[:10, :12] = True
    pasted = label[0] != 0
    assert torch.equal(padding[0], pasted & ~own)
    assert (label[1][~own] != 1).all()
    assert (label[2][9:] == 255).all()


def test_other_maps_of_the_samples_are_mixed(build, monkeypatch):
    np.random.seed(3)
    model = build(cut_mix={})
    batch = batch_of([True, True])
    batch['data_samples'][0].set_data({'gt_uneven': PixelData(data=torch.zeros(1, 16, 16))})
    batch['data_samples'][1].set_data({'gt_uneven': PixelData(data=torch.zeros(1, 8, 16))})
    for sample in batch['data_samples']:
        sample.set_data({'gt_depth_map': PixelData(data=sample.gt_sem_seg.data + 0.5)})
        sample.set_data({'gt_small': PixelData(data=torch.zeros(1, 4, 4))})
    given = copy.deepcopy(batch['data_samples'])
    samples = {}
    loss_by_feat = model.decode_head.loss_by_feat

    def record(logits, data_samples):
        samples['mixed'] = data_samples
        return loss_by_feat(logits, data_samples)

    monkeypatch.setattr(model.decode_head, 'loss_by_feat', record)
    step(model, batch)
    for sample in samples['mixed']:
        assert sample.gt_sem_seg.data.unique().tolist() == [0, 1]
        assert torch.equal(sample.gt_depth_map.data, sample.gt_sem_seg.data + 0.5)
        assert sample.gt_small.data.shape == (1, 4, 4)
    for sample, before in zip(batch['data_samples'], given, strict=True):
        for name in ('gt_sem_seg', 'gt_depth_map', 'gt_confidence'):
            assert torch.equal(sample.get(name).data, before.get(name).data)


@pytest.mark.parametrize('pseudo', [[False, False, False], [False, True, False]])
def test_human_labels_and_single_images_are_left_alone(build, pseudo):
    model = build(cut_mix={})
    step(model, batch_of(pseudo))
    for number, image in enumerate(model.backbone.inputs):
        assert (image == number + 1).all()


def test_without_confidence(build):
    model = build(cut_mix={})
    batch = batch_of([True, True])
    for sample in batch['data_samples']:
        del sample.gt_confidence
    step(model, batch)
    assert [image.unique().tolist() for image in model.backbone.inputs] == [[1], [2]]


@pytest.mark.parametrize(
    ('cut_mix', 'message'),
    [
        ({'area': 0}, r'cut_mix.area=0 must be above 0 and below 1'),
        ({'area': 1.0}, r'cut_mix.area=1.0 must be above 0 and below 1'),
        ({'prob': 0}, r'cut_mix.prob=0 must be above 0 and at most 1; cut_mix=None switches it off'),
        ({'prob': 1.5}, r'cut_mix.prob=1.5 must be above 0 and at most 1'),
    ],
)
def test_bad_settings(build, cut_mix, message):
    with pytest.raises(ValueError, match=message):
        build(cut_mix=cut_mix)

import time

import numpy as np
import pytest
import torch

from mmdmt.errors import DamagedFileError, UserError
from mmdmt.labels import background
from mmdmt.labels.map_writer import PseudoLabelWriter, check_whole
from mmdmt.labels.maps import LabelMaps


@pytest.fixture
def write(tmp_path):
    """Write one image of logits [C, H, W] and complete the store, which is returned."""

    def write(logits, label_ratio, **kwargs):
        writer = PseudoLabelWriter(
            num_classes=len(logits), label_dir=str(tmp_path / 'store'), label_ratio=label_ratio, **kwargs
        )
        writer.process(None, [dict(seg_logits=dict(data=logits), sample_idx=0, img_path='x.png')])
        figures = writer.evaluate(1)
        return LabelMaps(tmp_path / 'store'), figures

    return write


# One class, with log-odds 0, 1, 2, ... row by row.
LOGITS = torch.stack([torch.arange(8.0).view(2, 4), torch.zeros(2, 4)])


@pytest.mark.parametrize(('stride', 'counted'), [(1, range(8)), (2, (0, 2, 4, 6)), (3, (0, 3, 6)), (5, (0, 5))])
def test_one_in_stride_pixels_is_counted_row_by_row(write, stride, counted):
    store, _ = write(LOGITS, 0.5, rank_stride=stride)
    codes = np.flatnonzero(store.histogram().counts[0].numpy())
    # float32 may fall on the other side of a rounding boundary.
    assert codes.tolist() == pytest.approx([(value + 6) / 48 * 65535 for value in counted], abs=0.6)
    # All pixels are stored, whatever is counted.
    label, code = store.read('000000_x')
    assert label.shape == code.shape == (2, 4)
    assert len(np.unique(code)) == 8


def test_rank_stride_counts_labels_of_an_interrupted_run_alike(write, tmp_path):
    """An image that is there already is read back for the histogram."""
    counts = write(LOGITS, 0.5, rank_stride=3)[0].histogram().counts
    writer = PseudoLabelWriter(num_classes=2, label_dir=str(tmp_path / 'store'), label_ratio=0.5, rank_stride=3)
    writer.evaluate(1)
    assert torch.equal(LabelMaps(tmp_path / 'store').histogram().counts, counts)


def test_used_labels_by_class(write):
    """Half of the 7 and of the 1 pixels of two classes, at least one of each."""
    logits = LOGITS.clone()
    logits[1, 0, 0] = 2.5
    info = write(logits, 0.5)[0].info()
    assert (info['pixels_by_class'], info['kept_by_class']) == ([7, 1], [4, 1])


def test_half_precision_keeps_all_that_it_cannot_tell_apart(write):
    logits = torch.stack([torch.tensor([[1.0, 9, 10, 11]]), torch.zeros(1, 4)])
    assert write(logits, 0.25)[1]['pseudo_label/coverage'] == 0.25
    assert write(logits, 0.25, half=True)[1]['pseudo_label/coverage'] == 0.75


@pytest.mark.parametrize('classes', [1, 2])
def test_a_map_of_one_class_is_warned_of(write, monkeypatch, classes):
    seen = []
    monkeypatch.setattr(PseudoLabelWriter, 'warn_of_one_class', lambda self, counts: seen.append(counts))
    logits = LOGITS.clone()
    logits[1, 0, :classes] += 2.5
    write(logits, 0.5)
    assert seen == [[8 - classes, classes]]


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_prediction_that_is_not_finite_is_not_stored(write, tmp_path, value):
    logits = LOGITS.clone()
    logits[0, 1, 2] = value
    message = r'store: model a of phase 00_train_a predicts values that are not finite for x\.png: its training has'
    with pytest.raises(FloatingPointError, match=message):
        write(logits, 0.5, teacher='model a of phase 00_train_a')
    assert not LabelMaps(tmp_path / 'store').names()


def test_rehearsal_accepts_any_prediction(write):
    assert len(write(torch.full((2, 2, 4), float('nan')), 0.5, teacher=None)[0].names()) == 1


def test_rotten_image_of_an_interrupted_run_is_not_counted(write, tmp_path):
    """It is deleted, so that the next attempt labels it."""
    store, _ = write(LOGITS, 0.5)
    (tmp_path / 'store/labels.json').unlink()
    path = store.confidence_path('000000_x')
    path.write_bytes(path.read_bytes()[:-2] + b'ab')
    writer = PseudoLabelWriter(num_classes=2, label_dir=str(tmp_path / 'store'), label_ratio=0.5)
    with pytest.raises(DamagedFileError, match=r'000000_x\.png, or its confidence, is not as it was written'):
        writer.evaluate(1)
    assert not writer.store.complete
    assert LabelMaps(tmp_path / 'store').names() == set()


@pytest.mark.parametrize(
    'sample',
    [
        dict(ori_shape=(40, 60), img_shape=(40, 60)),
        dict(ori_shape=(40, 60, 3), img_shape=(20, 30), scale_factor=(0.5, 0.5)),
        dict(ori_shape=(40, 60), img_shape=(13, 30), scale_factor=(0.5, 1 / 3)),  # rounded
        dict(ori_shape=(20, 30), img_shape=(20, 30), scale_factor=(0.5, 0.5)),  # labeled at the size it was resized to
        dict(ori_shape=(40, 60)),
    ],
    ids=str,
)
def test_whole_images(sample):
    check_whole(dict(sample, img_path='x.png'))


@pytest.mark.parametrize(
    'sample',
    [
        dict(ori_shape=(40, 60), img_shape=(32, 32)),
        dict(ori_shape=(40, 60), img_shape=(64, 64), scale_factor=None),
        dict(ori_shape=(40, 60), img_shape=(32, 32), scale_factor=(1.0, 1.0)),
        dict(ori_shape=(40, 60), img_shape=(80, 80), scale_factor=(2.0, 2.0)),
    ],
    ids=str,
)
def test_images_that_were_cut_or_padded(sample):
    shown = '{} x {}'.format(*sample['img_shape'])
    with pytest.raises(UserError, match=rf'^dmt\.label_pipeline turns x\.png of 40 x 60 pixels into {shown} by other'):
        check_whole(dict(sample, img_path='x.png'))


def test_writer_checks_each_image(tmp_path):
    writer = PseudoLabelWriter(num_classes=2, label_dir=str(tmp_path / 'store'), label_ratio=0.5)
    sample = dict(seg_logits=dict(data=LOGITS), sample_idx=0, img_path='x.png', ori_shape=(2, 4), img_shape=(2, 2))
    with pytest.raises(UserError, match=r'turns x\.png'):
        writer.process(None, [sample])
    assert not list((tmp_path / 'store').glob('*/*'))


def test_threads_count_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(background, 'processors', lambda: 5)
    writer = PseudoLabelWriter(num_classes=2, label_dir=str(tmp_path / 'store'), label_ratio=0.5)
    counting, mixed = [], []

    def count(label, code):
        counting.append(1)
        time.sleep(0.02)
        mixed.append(len(counting) > 1)
        counting.pop()

    monkeypatch.setattr(writer, '_count', count)
    for index in range(8):
        writer.process(None, [dict(seg_logits=dict(data=LOGITS), sample_idx=index, img_path='x.png')])
    writer.background.finish()
    assert mixed == [False] * 8

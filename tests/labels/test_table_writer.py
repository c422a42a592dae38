import csv
import json
import math

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample

import mmdmt.engine  # noqa: F401  (registers the writer)
from mmdmt.labels.table import LabelTable
from mmdmt.labels.table_writer import ImageLabelWriter


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def make_sample(index, label, log_odds, true_label=None):
    known = {} if true_label is None else {'true_label': true_label}
    sample = DataSample(metainfo={'sample_idx': index, 'img_path': f'some/where/img{index}.png', **known})
    sample.set_pred_label(label).set_pred_score(torch.ones(3) / 3)
    sample.set_field(torch.tensor(log_odds), 'log_odds')
    return sample


@pytest.fixture
def write(tmp_path):
    """Write samples in batches of two, as a test loop does, and return the figures."""

    def write(samples, size=None, **kwargs):
        config = {'type': 'ImageLabelWriter', 'num_classes': 3, 'label_dir': str(tmp_path / 'labels'), **kwargs}
        evaluator = Evaluator(config)
        for start in range(0, len(samples), 2):
            evaluator.process(data_samples=samples[start : start + 2])
        return evaluator.evaluate(len(samples) if size is None else size)

    return write


# class, log-odds and true class of images 0 to 4
ROWS = [(2, 3.0, 2), (0, -1.0, 0), (1, 30.25, 1), (0, 0.5, 1), (2, 30.5, 0)]


def samples_of(rows, known=True):
    return [
        make_sample(index, label, log_odds, true_label if known else None)
        for index, (label, log_odds, true_label) in enumerate(rows)
    ]


def test_table(write, tmp_path):
    # In another order than that of the names: several processes write as they come.
    figures = write(samples_of(ROWS)[::-1], label_ratio=0.6)
    # The three most confident images are 4 (wrong), 2 and 0 (right); 0, 1 and 2 of all are right.
    assert figures == {
        'pseudo_label/images': 5,
        'pseudo_label/coverage': 3 / 5,
        'pseudo_label/accuracy': pytest.approx(200 / 3),
        'pseudo_label/accuracy_all': pytest.approx(60),
    }
    with open(tmp_path / 'labels/labels.csv', newline='') as file:
        lines = list(csv.reader(file))
    assert lines[0] == ['name', 'label', 'confidence', 'log_odds', 'true_label']
    for index, (line, (label, log_odds, true_label)) in enumerate(zip(lines[1:], ROWS, strict=True)):
        name, *numbers = line
        assert name == f'{index:06d}_img{index}'
        assert [float(number) for number in numbers] == [
            label,
            pytest.approx(1 / (1 + math.exp(-log_odds)), abs=1e-6),
            log_odds,
            true_label,
        ]
    info = json.loads((tmp_path / 'labels/labels.json').read_text())
    assert {key: info[key] for key in ('num_images', 'num_classes', 'kept', 'label_ratio', 'coverage')} == {
        'num_images': 5, 'num_classes': 3, 'kept': 3, 'label_ratio': 0.6, 'coverage': 0.6}  # fmt: skip
    assert info['images_by_class'] == [2, 1, 2]
    assert info['kept_by_class'] == [0, 1, 2]
    assert info['accuracy'] == pytest.approx(200 / 3)
    assert sorted(path.name for path in (tmp_path / 'labels').iterdir()) == ['labels.csv', 'labels.json']


def test_labels_are_read_back_as_ranked(write, tmp_path):
    write(samples_of(ROWS), label_ratio=0.4)
    store = LabelTable(tmp_path / 'labels')
    assert store.complete
    selected = store.select([f'{index:06d}_img{index}' for index in range(5)], 0.4)
    # Both confidences are 1 in float32; the log-odds tell them from each other.
    assert list(selected.indices) == [2, 4]
    assert selected.fields(1, '')['gt_label'] == 2
    assert list(store.select([f'{index:06d}_img{index}' for index in range(5)], 0.2).indices) == [4]


@pytest.mark.parametrize('number', [3, 7, 10, 13])
@pytest.mark.parametrize('ratio', [0.2, 0.35, 0.5, 0.9, 1.0])
def test_coverage_is_that_of_whole_images(write, tmp_path, number, ratio):
    rows = [(index % 3, math.sin(index), 0) for index in range(number)]
    figures = write(samples_of(rows), label_ratio=ratio)
    kept = round(ratio * number)
    assert figures['pseudo_label/coverage'] == kept / number
    order = sorted(range(number), key=lambda index: -rows[index][1])
    right = [rows[index][0] == 0 for index in order]
    assert figures['pseudo_label/accuracy'] == pytest.approx(100 * sum(right[:kept]) / kept)
    assert figures['pseudo_label/accuracy_all'] == pytest.approx(100 * sum(right) / number)
    assert json.loads((tmp_path / 'labels/labels.json').read_text())['kept'] == kept


def test_ranking_by_class(write):
    # Class 0 is always more confident than class 1: 4 and 2 images, of which 2 and 1 are kept.
    rows = [(0, 9.0, 0), (0, 8.0, 0), (0, 7.0, 1), (0, 6.0, 1), (1, 1.0, 0), (1, 2.0, 1)]
    assert write(samples_of(rows), label_ratio=0.5) == {
        'pseudo_label/images': 6,
        'pseudo_label/coverage': 0.5,
        'pseudo_label/accuracy': pytest.approx(200 / 3),
        'pseudo_label/accuracy_all': pytest.approx(50),
    }


def test_ranking_by_class_keeps_of_each(write):
    rows = [(0, 9.0, 0), (0, 8.0, 0), (0, 7.0, 1), (0, 6.0, 1), (1, 1.0, 0), (1, 2.0, 1)]
    figures = write(samples_of(rows), label_ratio=0.5, ranking='class')
    # 0, 1 and 5, all right
    assert figures['pseudo_label/coverage'] == 0.5
    assert figures['pseudo_label/accuracy'] == 100
    assert figures['pseudo_label/accuracy_all'] == pytest.approx(50)


@pytest.mark.parametrize('unknown', [{0, 1, 2, 3, 4}, {3}])
def test_no_accuracy_where_a_true_class_is_unknown(write, tmp_path, unknown):
    samples = [
        make_sample(index, label, log_odds, None if index in unknown else true_label)
        for index, (label, log_odds, true_label) in enumerate(ROWS)
    ]
    figures = write(samples, label_ratio=0.4)
    assert figures == {'pseudo_label/images': 5, 'pseudo_label/coverage': 0.4}
    assert 'accuracy' not in json.loads((tmp_path / 'labels/labels.json').read_text())
    rows = LabelTable(tmp_path / 'labels').rows()
    assert [row.true_label is None for row in rows] == [index in unknown for index in range(5)]


def test_true_class_0_is_known(write):
    assert write([make_sample(0, 0, 1.0, 0)], label_ratio=1.0)['pseudo_label/accuracy'] == 100


@pytest.mark.parametrize('size', [4, 6])
def test_wrong_number_of_images(write, tmp_path, size):
    with pytest.raises(RuntimeError, match=rf'labels must hold labels of {size} images, got labels of 5'):
        write(samples_of(ROWS), size=size, label_ratio=0.4)
    assert not LabelTable(tmp_path / 'labels').complete


def test_no_image_at_all(write):
    with pytest.raises(RuntimeError, match='must hold labels of 5 images, got labels of 0'):
        write([], size=5, label_ratio=0.4)


def test_goes_on_after_an_interruption(write, tmp_path):
    samples = samples_of(ROWS)
    first = ImageLabelWriter(num_classes=3, label_dir=str(tmp_path / 'labels'), label_ratio=0.6)
    first.process(None, [sample.to_dict() for sample in samples[:3]])
    part = tmp_path / 'labels/part-0.csv'
    # It was killed in the middle of a line.
    part.write_text(part.read_text() + '000003_img3,0,0.6')
    assert first.store.names() == {'000000_img0', '000001_img1', '000002_img2'}
    assert not first.store.complete

    figures = write(samples[3:], size=5, label_ratio=0.6)
    assert figures['pseudo_label/images'] == 5
    assert figures['pseudo_label/coverage'] == 0.6
    assert figures['pseudo_label/accuracy'] == pytest.approx(200 / 3)
    rows = LabelTable(tmp_path / 'labels').rows()
    assert [(row.label, row.log_odds, row.true_label) for row in rows] == ROWS
    assert not list((tmp_path / 'labels').glob('part-*'))


def test_two_processes_write_files_of_their_own(write, tmp_path):
    folder, samples = tmp_path / 'labels', [sample.to_dict() for sample in samples_of(ROWS)]
    writers = [ImageLabelWriter(num_classes=3, label_dir=str(folder), label_ratio=0.6) for _ in range(2)]
    for start in range(0, 4, 2):
        for writer, sample in zip(writers, samples[start : start + 2], strict=True):
            writer.process(None, [sample])
    assert {path.name: len(path.read_text().splitlines()) for path in folder.iterdir()} == {
        'part-0.csv': 2, 'part-1.csv': 2}  # fmt: skip
    writers[0].process(None, samples[4:])
    assert writers[0].evaluate(5)['pseudo_label/accuracy_all'] == pytest.approx(60)


def test_image_written_twice_counts_once(write, tmp_path):
    # As a sampler that fills up the last batch of several processes does.
    samples = samples_of(ROWS)
    assert write([*samples, samples[0]], size=5, label_ratio=0.6)['pseudo_label/images'] == 5
    assert len(LabelTable(tmp_path / 'labels').rows()) == 5


def test_ratio_that_keeps_nothing(write):
    with pytest.raises(ValueError, match=r'ratio 0\.05 selects none of 5 images'):
        write(samples_of(ROWS), label_ratio=0.05)


def test_own_prefix(write):
    figures = write(samples_of(ROWS, known=False), label_ratio=1.0, prefix='teacher')
    assert figures == {'teacher/images': 5, 'teacher/coverage': 1.0}


def test_images_by_class_are_looked_at(write, monkeypatch):
    seen = []
    monkeypatch.setattr(ImageLabelWriter, 'warn_of_one_class', lambda self, counts: seen.append(counts))
    write(samples_of(ROWS), label_ratio=0.6)
    assert seen == [[2, 1, 2]]


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_prediction_that_is_not_finite_is_not_stored(write, tmp_path, value):
    samples = samples_of(ROWS)
    samples[3].set_pred_score(torch.tensor([0.5, value, 0.5]))
    message = r'labels: model b of phase 01_train_b predicts values that are not finite for some/where/img3\.png: its'
    with pytest.raises(FloatingPointError, match=message):
        write(samples, label_ratio=0.6, teacher='model b of phase 01_train_b')
    assert LabelTable(tmp_path / 'labels').names() == {'000000_img0', '000001_img1'}

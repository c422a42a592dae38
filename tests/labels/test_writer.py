"""What the writers of labels have in common; each kind has its own tests."""

import logging

import pytest
import torch

from mmdmt.errors import DivergedError
from mmdmt.labels import writer as writer_module
from mmdmt.labels.store import LabelStore
from mmdmt.labels.writer import LabelWriter


class Names(LabelStore):
    """A store of nothing but names, each an empty file."""

    def names(self):
        return {path.stem for path in self.root.glob('*.label')}

    def forget(self, names):
        raise NotImplementedError

    def select(self, names, ratio, ranking):
        raise NotImplementedError

    def discard(self):
        raise NotImplementedError


class Writer(LabelWriter):
    @property
    def store(self):
        return Names(self.label_dir)

    def process(self, data_batch, data_samples):
        self.store.root.mkdir(exist_ok=True)
        for name in data_samples:
            (self.store.root / f'{name}.label').touch()

    def complete(self):
        self.store.finish(label_ratio=self.label_ratio)
        return {'coverage': 0.25}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / 'labels'


def test_store_is_completed_at_the_end(folder):
    writer = Writer(str(folder), label_ratio=0.5)
    writer.process(None, ['a', 'b'])
    assert not writer.store.complete
    writer.process(None, ['c', 'a'])  # labeled twice, counted once
    assert writer.evaluate(3) == {'pseudo_label/coverage': 0.25, 'pseudo_label/images': 3}
    info = writer.store.info()
    assert (info['num_images'], info['label_ratio']) == (3, 0.5)


def test_labels_of_an_interrupted_run_count(folder):
    Writer(str(folder), label_ratio=0.5).process(None, ['a', 'b'])
    later = Writer(str(folder), label_ratio=0.5)
    later.process(None, ['c'])
    assert later.evaluate(3)['pseudo_label/images'] == 3


@pytest.mark.parametrize('size', [1, 3])
def test_other_number_of_images_leaves_the_store_incomplete(folder, size):
    writer = Writer(str(folder), label_ratio=0.5)
    writer.process(None, ['a', 'b'])
    with pytest.raises(RuntimeError, match=rf'^{folder} must hold labels of {size} images, got labels of 2$'):
        writer.evaluate(size)
    assert not writer.store.complete


def test_own_prefix(folder):
    writer = Writer(str(folder), label_ratio=0.5, prefix='teacher')
    writer.process(None, ['a'])
    assert writer.evaluate(1) == {'teacher/coverage': 0.25, 'teacher/images': 1}


def test_results_of_single_images_are_not_kept(folder):
    writer = Writer(str(folder), label_ratio=0.5)
    writer.process(None, ['a'])
    assert writer.results == []
    assert writer.compute_metrics([]) == {}


def test_a_writer_must_have_a_store():
    class Half(LabelWriter):
        def process(self, data_batch, data_samples):
            pass

    with pytest.raises(TypeError, match=r'abstract.*complete.*store'):
        Half('folder', label_ratio=0.5)


@pytest.mark.parametrize(
    ('counts', 'name'),
    [
        ([0, 50, 0], 'leaf'),
        ([99_991, 9, 0], 'soil'),
        ([99_989, 11, 0], None),
        ([25, 25, 0], None),
        ([0, 0, 0], None),
        ([7], None),  # one class is all there is
    ],
)
def test_teacher_of_one_class(folder, counts, name, monkeypatch):
    said = []
    monkeypatch.setattr(writer_module, 'print_log', lambda text, **options: said.append((text, options['level'])))
    writer = Writer(str(folder), label_ratio=0.5)
    writer.dataset_meta = dict(classes=('soil', 'leaf', 'stem'))
    writer.warn_of_one_class(counts)
    assert [level for _, level in said] == [logging.WARNING] * (name is not None)
    assert all(f'% as {name!r}, so the next phase' in text for text, _ in said)
    writer.dataset_meta = None
    writer.warn_of_one_class(counts)
    assert len(said) == 2 * (name is not None)


@pytest.mark.parametrize('value', [3e38, -3e38])
def test_finite_values_whose_sum_overflows_are_finite(folder, value):
    prediction = torch.full((1, 2, 4, 4), value)
    assert Writer(str(folder), label_ratio=0.5).check_finite(prediction, 'x.png') is prediction


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_one_value_that_is_not_finite_is_found(folder, value):
    prediction = torch.zeros(1, 2, 4, 4)
    prediction[0, 1, 2, 3] = value
    with pytest.raises(DivergedError, match=r'not finite for x\.png'):
        Writer(str(folder), label_ratio=0.5).check_finite(prediction, 'x.png')
    prediction[0, 0, 0, 0] = -value  # infinities that cancel out
    with pytest.raises(DivergedError):
        Writer(str(folder), label_ratio=0.5).check_finite(prediction, 'x.png')

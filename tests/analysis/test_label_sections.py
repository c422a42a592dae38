import numpy as np
import pytest

from mmdmt.analysis import label_sections, pictures
from mmdmt.analysis.document import Picture
from mmdmt.analysis.label_facts import read_labels
from mmdmt.analysis.run_record import RunRecord
from tests.analysis.conftest import write

CHECK = dict(
    images=2, all=[[4, 3], [7, 5], [0, 0]], kept=[[2, 1], [4, 3], [0, 0]], bins=[[1, 1], [4, 2], *[[0, 0]] * 7]
)


@pytest.fixture
def record(made_run):
    work_dir = made_run()
    write(work_dir / '01_label_a/label_check.json', CHECK)
    return RunRecord.read(work_dir)


def tables(section):
    found = [getattr(part, 'table', part) for part in section.parts]
    return {table.caption.split(',')[0]: table.rows for table in found}


def test_labels(record):
    facts = [read_labels(record, phase) for phase in record.labels]
    section = label_sections.labels(record, facts)
    assert section.text[0].startswith('Accuracies are measured on 2 unlabeled images')
    found = tables(section)
    assert found['How many labels a phase uses'] == [
        ['01_label_a', '0.5', '50.0', '66.7', '72.7', '2'], ['01_label_b', '0.5', '50.0', '-', '-', '2'],
    ]  # fmt: skip
    assert found['How often each class occurs in all labels'] == [
        ['sky', '50.00', '33.33', '33.33'], ['road', '40.00', '66.67', '66.67'], ['pole', '10.00', '0.00', '0.00'],
    ]  # fmt: skip
    assert found['Used share of the labels of each class'] == [
        ['sky', '50.0', '50.0'], ['road', '50.0', '50.0'], ['pole', '-', '-'],
    ]  # fmt: skip
    assert found['Right labels among the used ones of each class (precision)'] == [
        ['sky', '50.0'], ['road', '75.0'], ['pole', '-'],
    ]  # fmt: skip
    errors = found['Share of the pixels by confidence']
    assert [row[1].split()[1] for row in errors[:3]] == ['(0.0)', '(50.0)', '(-)']


def test_labels_without_a_truth(made_run):
    record = RunRecord.read(made_run())
    section = label_sections.labels(record, [read_labels(record, phase) for phase in record.labels])
    assert 'not known' in section.text[0]
    assert len(section.parts) == 3
    assert label_sections.labels(record, []) is None


def snapshot(record, phase, rows, *kinds):
    folder = record.work_dir / phase / 'pictures'
    write(folder / 'snapshot.json', dict(images=rows))
    for row in rows:
        for kind in kinds:
            pictures.store(folder, f'{row["name"]}_{kind}', pictures.class_picture(np.array([[0, 1]]), [(1, 2, 3)]))


def test_gallery_of_maps(record):
    assert label_sections.gallery(record) is None
    content = pictures.photo(np.zeros((4, 4, 3), np.uint8))
    for name in ('x', 'x_truth'):
        pictures.store(record.work_dir / 'pictures', name, content)
    snapshot(record, '00_train_a', [dict(name='x')], 'prediction')
    (grid,) = label_sections.gallery(record).parts
    assert grid.header == ['', '', '0 a']
    assert [[type(cell) for cell in row[1:]] for row in grid.rows] == [[Picture, Picture], [Picture, str]]
    snapshot(record, '01_train_a', [dict(name='x')], 'prediction', 'label', 'weight')
    (grid,) = label_sections.gallery(record).parts
    assert grid.header == ['', '', '0 a', '1 a']
    kinds = [[isinstance(cell, Picture) for cell in row[1:]] for row in grid.rows]
    assert kinds == [[True, False, True], [False, False, True], [True, True, True]]
    assert [row[0] for row in grid.rows] == ['pseudo label', 'weight', 'prediction']
    assert [name for _, name in grid.legend] == ['ignored', 'sky', 'road', 'pole']


def test_gallery_of_images(record):
    pictures.store(record.work_dir / 'pictures', 'x', pictures.photo(np.zeros((4, 4, 3), np.uint8)))
    snapshot(record, '00_train_a', [dict(name='x', prediction=1, probability=0.75, truth=0)])
    own = dict(name='x', prediction=0, probability=0.9, truth=0, label=2, confidence=0.5, used=True, weight=0.25)
    snapshot(record, '01_train_a', [own])
    (grid,) = label_sections.gallery(record).parts
    assert grid.rows[0][1].note == 'sky'
    assert [row[1] for row in grid.rows[1:]] == ['→ road 0.75 ✗', 'pole 0.50, w 0.25\n→ sky 0.90 ✓']
    snapshot(record, '01_train_a', [{**own, 'used': False}])
    (grid,) = label_sections.gallery(record).parts
    assert grid.rows[2][1].startswith('pole 0.50, not used\n')


@pytest.mark.parametrize('content', ['', '[]', '{"images": 3}'])
def test_damaged_snapshots_are_left_out(record, content):
    (record.work_dir / '00_train_a/pictures').mkdir()
    (record.work_dir / '00_train_a/pictures/snapshot.json').write_text(content)
    assert label_sections.gallery(record) is None

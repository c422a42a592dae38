"""Reports of real runs of a few steps: what is written in a run, and what is made up later."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from mmdmt.analysis import run_report, snapshots
from mmdmt.analysis.references import References
from mmdmt.analysis.run_record import RunRecord
from mmdmt.engine.cli import read_config
from mmdmt.labels.maps import LabelMaps


@pytest.fixture
def work_dir(reported_run):
    return reported_run


@pytest.fixture
def copied(work_dir, tmp_path):
    return Path(shutil.copytree(work_dir, tmp_path / 'copy'))


def test_page_and_text_have_all_sections(work_dir):
    text, page = (work_dir / 'report.md').read_text(), (work_dir / 'report.html').read_text()
    titles = ['Result', 'Phases', 'Pseudo labels', 'Pictures', 'Classes', 'Training', 'Settings']
    assert [line[3:] for line in text.splitlines() if line.startswith('## ')] == titles
    assert all(f'<h2>{title}</h2>' in page for title in titles)
    assert '3 of 3 phases are complete' in text
    assert str(work_dir.parent) not in text + page
    assert 'Accuracies are measured on 6 unlabeled images' in text
    assert len(page) < 1_000_000


def test_labels_were_compared_with_the_masks(work_dir):
    check = json.loads((work_dir / '01_label_a/label_check.json').read_text())
    assert check['images'] == 6
    assert sum(number for number, _ in check['all']) == sum(number for number, _ in check['bins']) <= 6 * 64 * 64
    assert all(right <= number for pairs in check.values() if isinstance(pairs, list) for number, right in pairs)


def test_pictures(work_dir):
    rows = json.loads((work_dir / '01_train_a/pictures/snapshot.json').read_text())['images']
    assert [row['name'] for row in rows] == ['000000_000040', '000002_000042', '000003_000043', '000005_000045']
    kinds = {path.stem.removeprefix('000000_000040') for path in (work_dir / '01_train_a/pictures').glob('000000*')}
    assert kinds == {'_label', '_weight', '_prediction'}
    shown = {path.stem for path in (work_dir / 'pictures').iterdir()}
    assert {'000000_000040', '000000_000040_truth'} <= shown
    truth = np.asarray(Image.open(work_dir / 'pictures/000000_000040_truth.png'))
    label = np.asarray(Image.open(work_dir / '01_train_a/pictures/000000_000040_label.png'))
    assert truth.shape == label.shape == (64, 64)
    assert set(np.unique(truth)) <= {*range(11), 255}
    ignored = (label == 255).mean()
    assert 0.3 < ignored < 0.7  # ratio 0.5
    weight = np.asarray(Image.open(work_dir / '01_train_a/pictures/000000_000040_weight.png'))
    assert ((weight == 255) == (label == 255)).all()
    assert not (work_dir / '00_train_a/pictures/000000_000040_label.png').exists()


def test_class_iou_is_kept_without_a_word_in_the_log(work_dir):
    record = json.loads((work_dir / '01_train_a/phase.json').read_text())
    assert set(record['metrics']) == {'aAcc', 'mIoU', 'mAcc'}
    found = record['class_iou']
    assert np.mean(list(found.values())) == pytest.approx(record['metrics']['mIoU'], abs=0.01)
    assert 'background' in found


def test_what_is_lost_is_made_up(copied, work_dir):
    assert not run_report.lacking(copied)
    LabelMaps(copied / '01_label_a').discard()
    for path in ('run_notes.json', '00_train_a/pictures', '01_train_a/pictures', '01_label_a/label_check.json'):
        target = copied / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    before = (copied / 'pictures/000000_000040.png').read_bytes()
    assert run_report.lacking(copied)
    cfg = read_config(copied / 'config.py', {'work_dir': str(copied)})
    run_report.make_up(copied, cfg)
    name = 'pictures/000000_000040_prediction.png'
    assert (copied / '00_train_a' / name).read_bytes() == (work_dir / '00_train_a' / name).read_bytes()
    assert (copied / 'pictures/000000_000040.png').read_bytes() == before
    # The labels of the iteration are deleted, so that their pictures cannot be made again.
    assert not (copied / '01_train_a/pictures/snapshot.json').exists()
    notes = json.loads((copied / 'run_notes.json').read_text())
    assert 'commands' not in notes
    assert len(notes['classes']) == 11
    page = run_report.write_report(copied, References(80.0), copied / 'elsewhere')
    assert 'Oracle 80.00' in page.with_suffix('.md').read_text()


@pytest.mark.parametrize(
    'damage', ['dmt.json', 'run_notes.json', '01_label_a/histogram.npz', '01_label_a/label_check.json',
               '01_train_a/pictures/snapshot.json', '01_train_a/phase.json', '01_label_a/labels.json']
)  # fmt: skip
@pytest.mark.parametrize('content', [None, b'', b'{}', b'\xff\x00[1'])
def test_damaged_runs_have_a_report_of_what_is_there(copied, damage, content):
    if content is None:
        (copied / damage).unlink()
    else:
        (copied / damage).write_bytes(content)
    page = run_report.write_report(copied)
    assert '00_train_a' in page.read_text()


def test_a_killed_first_phase(copied):
    for path in copied.iterdir():
        if path.name[:2] in ('00', '01') or path.name == 'pictures':
            shutil.rmtree(path)
    run_report.write_report(copied)
    assert '0 of 3 phases are complete; the next one is 00_train_a.' in (copied / 'report.md').read_text()


def test_images_in_memory_are_rgb_and_files_bgr():
    inputs = np.zeros((3, 1, 1))
    inputs[0] = 300
    assert snapshots.shown(torch.tensor(inputs), in_memory=True).tolist() == [[[255, 0, 0]]]
    assert snapshots.shown(torch.tensor(inputs), in_memory=False).tolist() == [[[0, 0, 255]]]
    assert snapshots.shown(torch.tensor(inputs[:1]), in_memory=False).tolist() == [[[255, 255, 255]]]


def test_record_reads_what_a_run_has_written(work_dir):
    record = RunRecord.read(work_dir)
    assert record.notes['task'] == 'maps'
    assert record.notes['commands']
    lines = record.scalars(record.trains[0])
    assert [line['step'] for line in lines if 'loss' in line] == [2, 4]


def test_reports_take_a_twentieth_of_a_run_at_most(monkeypatch, tmp_path):
    """Each takes 2 seconds here, so the next one is due 40 seconds after it; the start and the end have one anyway."""
    now, written = [100.0], []

    def write(_):
        written.append(now[0])
        now[0] += 2

    monkeypatch.setattr(run_report.time, 'monotonic', lambda: now[0])
    monkeypatch.setattr(run_report, 'write_report', write)
    monkeypatch.setattr(run_report, 'write_notes', lambda *_: None)
    plan, manifest = SimpleNamespace(task=SimpleNamespace(store='table')), SimpleNamespace(work_dir=tmp_path)
    phase = SimpleNamespace(kind='label')
    for seconds, ends in ((0, None), (10, phase), (29, phase), (1, phase), (5, phase), (60, phase), (1, None)):
        now[0] += seconds
        run_report.update(plan, manifest, None, ends)
    assert written == [100, 142, 209, 212]


def test_a_run_of_one_phase_is_reported(monkeypatch, tmp_path):
    """As a process of ``--phase`` does, which does not report the start."""
    written = []
    monkeypatch.setattr(run_report, 'write_report', written.append)
    plan, manifest = SimpleNamespace(task=SimpleNamespace(store='table')), SimpleNamespace(work_dir=tmp_path)
    run_report.update(plan, manifest, None, SimpleNamespace(kind='label'))
    assert written == [tmp_path]

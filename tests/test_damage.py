"""Whole runs whose files were damaged, resumed to the end; single findings are in tests/engine/test_repair.py."""

import os
import shutil
import threading
import time

import numpy as np
import pytest

from mmdmt.engine import DMTRunner
from mmdmt.labels import PseudoLabelWriter
from mmdmt.labels.maps import LabelMaps
from tests.runs import assert_same_weights
from tests.steps import SELF_TAUGHT


@pytest.fixture(scope='module')
def resume(tiny_config):
    """``resume(work_dir, phase)``: continue a run, or run a phase; the lines of warning in its log."""

    def resume(work_dir, phase=None, **options):
        DMTRunner(tiny_config(work_dir, {**SELF_TAUGHT, 'resume': True, **options})).train(phase=phase)
        lines = (work_dir / 'dmt.log').read_text().splitlines()
        return [line.partition(' - WARNING - ')[2] for line in lines if f'WARNING - {work_dir}' in line]

    return resume


@pytest.fixture(scope='module')
def labeled(resume, tmp_path_factory):
    """A run whose baseline and labels are complete, and the same run to its end."""
    work_dir = tmp_path_factory.mktemp('damage') / 'run'
    for phase in ('00_train_a', '01_label_a'):
        resume(work_dir, phase)
    shutil.copytree(work_dir, work_dir.with_name('whole'))
    assert resume(work_dir.with_name('whole')) == []
    return work_dir


def rot(path):
    """Change a file without a trace: its size and time stay."""
    content, times = path.read_bytes(), path.stat()
    path.write_bytes(content[:-200] + bytes(200))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def lose_baseline_and_label(run):
    (run / '00_train_a/iter_4.pth').write_bytes(b'')
    next((run / '01_label_a/labels').glob('*.png')).unlink()


def labels(run):
    return {path.name: path.read_bytes() for path in (run / '01_label_a').glob('[lc]*/*.*')}


def test_lost_files_are_made_again(labeled, resume, tmp_path):
    """The run ends with the result of one that lost nothing."""
    run, whole = tmp_path / 'run', labeled.with_name('whole')
    shutil.copytree(labeled, run)
    (run / '00_train_a/iter_4.pth').write_bytes(b'')
    next((run / '01_label_a/labels').glob('*.png')).unlink()
    first, second = resume(run)
    assert 'phase 01_label_a is run again' in first
    assert 'phase 00_train_a is run again' in second
    assert labels(run) == labels(whole)
    assert_same_weights(run / 'best.pth', whole / 'best.pth')


def test_rot_is_found_and_mended_in_the_middle_of_a_phase(labeled, resume, tmp_path):
    """By a worker of a data loader."""
    run, whole = tmp_path / 'run', labeled.with_name('whole')
    shutil.copytree(labeled, run)
    for path in (run / '01_label_a/confidence').glob('*.zst'):
        rot(path)
        for file in (path, run / f'01_label_a/labels/{path.stem}.png'):  # new ones are read at the beginning
            os.utime(file, (0, 0))
    lines = resume(run)
    assert 'is not as it was written' in lines[0]
    assert 'phase 01_label_a is run again' in lines[1]
    assert labels(run) == labels(whole)
    assert (run / 'best.pth').is_file()


def test_archives_of_a_killed_label_phase(labeled, resume, tmp_path):
    """Its archive ends within an image; labels that were written as files before count, too."""
    run, whole = tmp_path / 'run', labeled.with_name('whole')
    shutil.copytree(labeled, run)
    folder, archives = run / '01_label_a', {'dmt.label_writer.archives': True}
    names = sorted(LabelMaps(folder).names())
    LabelMaps(folder).forget(names[2:])
    for name in ('phase.json', 'labels.json', 'histogram.npz'):
        (folder / name).unlink()
    resume(run, '01_label_a', **archives)
    for name in ('phase.json', 'labels.json', 'histogram.npz'):
        (folder / name).unlink()
    (archive,) = (folder / 'archives').iterdir()
    os.truncate(archive, archive.stat().st_size * 2 // 3)
    kept = LabelMaps(folder).names()
    assert set(names[:3]) <= kept < set(names)
    resume(run, **archives)
    assert len(list((folder / 'archives').iterdir())) == 2
    for name in names:
        for found, expected in zip(
            LabelMaps(folder).read(name), LabelMaps(whole / '01_label_a').read(name), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
    assert_same_weights(run / 'best.pth', whole / 'best.pth')


def test_nothing_is_written_after_an_error(labeled, resume, tmp_path, monkeypatch):
    """The folder may then be deleted, or labeled anew."""
    run, begun, write = tmp_path / 'run', threading.Event(), LabelMaps.write
    shutil.copytree(labeled, run)
    shutil.rmtree(run / '01_label_a')

    def slow(store, *args):
        begun.set()
        time.sleep(0.5)
        write(store, *args)

    def fail(writer, prediction, img_path):
        if begun.wait(0 if not writer.written else 20):
            raise RuntimeError('a later image')
        return prediction

    monkeypatch.setattr(LabelMaps, 'write', slow)
    monkeypatch.setattr(PseudoLabelWriter, 'check_finite', fail)
    with pytest.raises(RuntimeError, match='a later image'):
        resume(run, '01_label_a')
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith('mmdmt-labels')]
    assert len(LabelMaps(run / '01_label_a').names()) == 1

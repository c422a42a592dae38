import os
import re
import shutil

import numpy as np
import pytest
import torch

from mmdmt.core.ranking import ClassHistogram
from mmdmt.core.schedule import plan
from mmdmt.engine.commit import commit
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.repair import Repair
from mmdmt.errors import DamagedFileError, RefusedFileError, UserError
from mmdmt.labels.maps import LabelMaps
from mmdmt.labels.table import LabelRow, LabelTable
from mmdmt.untrusted import read_meta

PHASES = {phase.name: phase for phase in plan('self', ['a'], (0.5, 1.0))}
NAMES = ['000000_x', '000001_y', '000002_z']
NEXT = ['01_train_a', '02_label_a', '02_train_a']


def make(folder, seed=0):
    """A run whose baseline and first label phase are complete."""
    manifest = Manifest(folder, PHASES.values())
    train, label = manifest.folder('00_train_a'), manifest.folder('01_label_a')
    train.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    weights = {'weight': torch.randn(3000, generator=generator)}
    mark = dict(phase='00_train_a', model='a', seconds=1.0)
    torch.save(dict(meta=dict(dmt=mark), state_dict=weights, optimizer=weights), train / 'iter_4.pth')
    commit(train, dict(phase='00_train_a', checkpoint='iter_4.pth', metrics=dict(mIoU=50.0 + seed)))
    store, pixels = LabelMaps(label), np.random.default_rng(seed).integers(0, 60000, (3, 20, 30), dtype=np.uint16)
    for name, code in zip(NAMES, pixels, strict=True):
        store.write(name, (code % 3).astype(np.uint8), code)
    store.finish(ClassHistogram(3), coverage=0.5)
    commit(label, dict(phase='01_label_a', coverage=0.5))
    return manifest


@pytest.fixture
def manifest(tmp_path):
    return make(tmp_path / 'run')


@pytest.fixture
def reopen(manifest):
    """``reopen(name of a single phase)``: the phases that are to run, and what was logged."""

    def reopen(name=None, store='maps'):
        lines = []
        chosen = list(PHASES.values()) if name is None else [PHASES[name]]
        Repair(manifest, store, lines.append).reopen(chosen)
        return [phase.name for phase in chosen if not manifest.is_complete(phase.name)], lines

    return reopen


def damage(path, how, other):
    content, size = path.read_bytes(), path.stat().st_size
    if how == 'missing':
        path.unlink()
    elif how == 'foreign':
        shutil.copyfile(other, path)
    else:
        path.write_bytes(
            {
                'empty': b'',
                'truncated': content[: size // 2],
                'zeroed': content[: size // 3] + bytes(size // 3) + content[size // 3 * 2 :],
            }[how]
        )


ALL = ['truncated', 'empty', 'missing', 'zeroed', 'foreign']
LABELS = ['01_label_a', *NEXT]
BASELINE = ['00_train_a', *NEXT]
# File, phases that are run again, and the line that says so.
FILES = [
    ('01_label_a/labels/000001_y.png', LABELS, r'labels/000001_y\.png or .*changed: phase 01_label_a is run again'),
    ('01_label_a/confidence/000001_y.zst', LABELS, r'labels/000001_y\.png or its confidence is missing, damaged or ch'),
    ('01_label_a/histogram.npz', LABELS, r'01_label_a/histogram\.npz is missing, damaged or changed'),
    ('01_label_a/checksums.csv', LABELS, r'01_label_a/checksums\.csv is missing, damaged or changed'),
    ('01_label_a/labels.json', LABELS, r'01_label_a/(labels\.json|checksums\.csv) is missing, damaged'),
    ('01_label_a/phase.json', LABELS, r'01_label_a/phase\.json is damaged: phase 01_label_a is completed again'),
    ('00_train_a/phase.json', NEXT, r'00_train_a/phase\.json was lost or damaged; .* from iter_4\.pth'),
    ('00_train_a/iter_4.pth', BASELINE, r'00_train_a/iter_4\.pth is .*: phase 00_train_a is run again'),
]
# A label phase without phase.json is one that was interrupted; two stores of the same classes have equal histograms.
UNREMARKABLE = {('01_label_a/phase.json', 'missing'), ('01_label_a/histogram.npz', 'foreign')}
TABLE = [(*row, how) for row in FILES for how in ALL if (row[0], how) not in UNREMARKABLE]


@pytest.mark.parametrize(('path', 'todo', 'line', 'how'), TABLE, ids=[f'{row[0]}-{row[3]}' for row in TABLE])
def test_what_is_damaged_is_redone(manifest, reopen, tmp_path, path, todo, line, how):
    """Exactly the phase of the damaged file is run again, and one line says so."""
    other = make(tmp_path / 'other', seed=1).work_dir / path
    if path.endswith('phase.json'):
        other = manifest.work_dir / ('01_label_a' if path.startswith('00') else '00_train_a') / 'phase.json'
    damage(manifest.work_dir / path, how, other)
    found, lines = reopen()
    assert found == todo
    assert len(lines) == 1
    assert re.search(line, lines[0]), lines


def test_nothing_is_said_of_a_whole_run(reopen):
    assert reopen() == (NEXT, [])


def test_only_the_damaged_image_is_labeled_anew(manifest, reopen):
    store = LabelMaps(manifest.folder('01_label_a'))
    damage(store.label_path(NAMES[1]), 'foreign', store.label_path(NAMES[2]))
    reopen()
    assert LabelMaps(store.root).names() == {NAMES[0], NAMES[2]}


def test_rot_that_left_no_trace_is_found_when_the_file_is_read(manifest, reopen):
    """Of the same size and as old as before: the check at the start would have to read all labels."""
    store = LabelMaps(manifest.folder('01_label_a'))
    path = store.confidence_path(NAMES[0])
    damage(path, 'zeroed', None)
    for file in (path, store.label_path(NAMES[0])):
        os.utime(file, (0, 0))
    assert reopen() == (NEXT, [])
    with pytest.raises(DamagedFileError, match=r'000000_x\.png, or its confidence, is not as it was written'):
        store.read(NAMES[0])
    assert reopen()[0] == LABELS
    assert LabelMaps(store.root).names() == set(NAMES[1:])


def test_used_labels_that_were_deleted_are_made_again_only_if_they_are_needed(manifest, reopen):
    LabelMaps(manifest.folder('01_label_a')).discard()
    todo, lines = reopen()
    assert todo == LABELS
    assert 'checksums.csv' in lines[0]
    commit(manifest.folder('01_label_a'), dict(phase='01_label_a', coverage=0.5))
    complete(manifest, '01_train_a')
    assert reopen() == (['02_label_a', '02_train_a'], [])
    assert reopen('01_label_a') == ([], [])  # by a job that comes twice


def test_teacher_of_lost_labels_is_needed_too(manifest, reopen):
    LabelMaps(manifest.folder('01_label_a')).discard()
    (manifest.folder('00_train_a') / 'iter_4.pth').unlink()
    todo, lines = reopen()
    assert todo == ['00_train_a', *LABELS]
    assert len(lines) == 2


def complete(manifest, name):
    folder = manifest.folder(name)
    folder.mkdir()
    if PHASES[name].kind == 'train':
        torch.save(dict(state_dict={}), folder / 'iter_4.pth')
        commit(folder, dict(phase=name, checkpoint='iter_4.pth'))
    else:
        commit(folder, dict(phase=name))


@pytest.mark.parametrize('teacher_is_lost', [True, False])
def test_what_a_damaged_phase_was_made_from_is_needed_again(manifest, reopen, teacher_is_lost):
    """Its labels were deleted when they were used; no phase that is left to run needs them, or their teacher."""
    complete(manifest, '01_train_a')
    LabelMaps(manifest.folder('01_label_a')).discard()
    if teacher_is_lost:
        (manifest.folder('00_train_a') / 'iter_4.pth').unlink()
        assert reopen() == (['02_label_a', '02_train_a'], [])
    (manifest.folder('01_train_a') / 'iter_4.pth').unlink()
    todo, lines = reopen()
    assert todo == [*(['00_train_a'] if teacher_is_lost else []), *LABELS]
    assert len(lines) == 2 + teacher_is_lost


def test_complete_run_needs_its_last_models_only(manifest, reopen):
    for name in NEXT:
        complete(manifest, name)
    for name in ('00_train_a', '01_train_a'):
        (manifest.folder(name) / 'iter_4.pth').unlink()
    LabelMaps(manifest.folder('01_label_a')).discard()
    assert reopen() == ([], [])
    (manifest.folder('02_train_a') / 'iter_4.pth').unlink()
    assert '02_train_a' in reopen()[0]


def test_lost_record_is_not_written_anew_from_a_damaged_checkpoint(manifest, reopen):
    """Its metadata can be read: what is zeroed are weights."""
    folder = manifest.folder('00_train_a')
    damage(folder / 'iter_4.pth', 'zeroed', None)
    assert read_meta(folder / 'iter_4.pth')['dmt']['record']['checkpoint'] == 'iter_4.pth'
    (folder / 'phase.json').unlink()
    assert reopen()[0] == BASELINE


def test_single_phase_says_which_other_one_is_damaged(manifest, reopen):
    (manifest.folder('00_train_a') / 'iter_4.pth').write_bytes(b'')
    with pytest.raises(UserError, match=r'00_train_a/iter_4\.pth is damaged or changed; run --phase 00_train_a first'):
        reopen('01_train_a')
    assert manifest.is_complete('00_train_a')
    assert reopen('00_train_a')[0] == ['00_train_a']


@pytest.mark.parametrize('given', ['../../elsewhere.pth', '/elsewhere/x.pth', '../00_train_a/iter_4.pth', '', 7])
def test_checkpoint_outside_of_the_folder_is_refused(manifest, reopen, given):
    commit(manifest.folder('01_label_a'), dict(phase='01_label_a'))
    path = manifest.folder('00_train_a') / 'phase.json'
    path.write_text(path.read_text().replace('"iter_4.pth"', f'"{given}"' if given != 7 else '7'))
    with pytest.raises(RefusedFileError, match=r'00_train_a/phase\.json names the checkpoint .* in its own folder'):
        reopen()


@pytest.mark.parametrize('how', ALL[:4])
def test_table_of_labels(manifest, reopen, tmp_path, how):
    folder = manifest.folder('01_label_a')
    shutil.rmtree(folder)
    table = LabelTable(folder)
    table.append([LabelRow(name, 0, 1.0) for name in NAMES])
    table.finish()
    commit(folder, dict(phase='01_label_a'))
    assert reopen(store='table') == (NEXT, [])
    damage(folder / 'labels.csv', how, None)
    todo, lines = reopen(store='table')
    assert todo == LABELS
    assert 'labels.csv is missing, damaged or changed' in lines[0]
    assert LabelTable(folder).names() == set()

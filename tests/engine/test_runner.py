"""What a runner refuses before it computes anything; whole runs are in tests/test_end_to_end*.py."""

import json
import os
import socket

import pytest
import torch
from mmengine.registry import RUNNERS

from mmdmt.engine import DMTRunner
from mmdmt.engine.phase_sequence import PhaseSequence
from mmdmt.errors import UnwritableError, UserError


@pytest.fixture
def make(tiny_config, tmp_path):
    return lambda options=None: DMTRunner(tiny_config(tmp_path / 'run', options))


def complete(runner, name, **record):
    folder = runner.manifest.folder(name)
    folder.mkdir(parents=True)
    if 'checkpoint' in record:
        torch.save({'state_dict': {}}, folder / record['checkpoint'])
    (folder / 'phase.json').write_text(json.dumps(record))


def files(runner):
    paths = [path.relative_to(runner.work_dir) for path in runner.work_dir.rglob('*') if path.is_file()]
    return sorted(path.as_posix() for path in paths if path.parts[0] != '.locks')


def test_registry_builds_it(tiny_config, tmp_path):
    runner = RUNNERS.build(tiny_config(tmp_path))
    assert type(runner) is DMTRunner
    assert runner.work_dir == tmp_path.resolve()
    assert [phase.name for phase in runner.manifest.phases][:2] == ['00_train_a', '00_train_b']


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('x', r"^--phase 'x' is not one of 00_train_a, 00_train_b, 01_label_a, 01_train_b, 01_label_b, 01_train_a, "),
        ('02_train_b', r'^phase 02_train_b needs phase\(s\) 01_train_b and 02_label_a to be complete in .*run$'),
        ('01_label_b', r'^phase 01_label_b needs phase\(s\) 00_train_b to be complete in .*run$'),
    ],
)
def test_phase_that_cannot_be_run(make, name, message):
    runner = make()
    with pytest.raises(ValueError, match=message):
        runner.train(phase=name)
    assert not runner.work_dir.exists()


def test_run_of_the_same_work_dir(make):
    """It is continued where ``resume`` or a phase says so, and only with the same config."""
    runner = make()
    runner.manifest.start(runner.cfg)
    for phase in runner.manifest.phases[:2]:
        complete(runner, phase.name, checkpoint='iter_4.pth')
    before = files(runner)
    with pytest.raises(FileExistsError, match='run already holds a DMT run: add --resume'):
        make().train()
    changed = {'optim_wrapper.optimizer.lr': 0.5}
    for refused in (lambda: make({**changed, 'resume': True}).train(), lambda: make(changed).train('00_train_a')):
        with pytest.raises(ValueError, match=r'another config \(optim_wrapper\.optimizer\.lr: 0\.05 -> 0\.5\)'):
            refused()
    assert files(runner) == before
    make().train('00_train_a')  # complete: there is nothing to do
    assert files(runner) == sorted([*before, 'dmt.log'])


def test_single_phase_whose_labels_were_deleted(make):
    """It cannot make them itself."""
    runner = make()
    runner.manifest.start(runner.cfg)
    complete(runner, '00_train_b', checkpoint='iter_4.pth')
    complete(runner, '01_label_a', coverage=0.5)
    with pytest.raises(UserError, match=r'01_label_a/labels\.json is missing.*; run --phase 01_label_a first$'):
        runner.train(phase='01_train_b')
    assert not (runner.work_dir / '01_train_b').exists()


@pytest.mark.parametrize('operation', [DMTRunner.test, DMTRunner.val])
def test_result_that_is_not_there(make, tmp_path, operation):
    with pytest.raises(FileNotFoundError, match=r'^checkpoint .*run/best\.pth does not exist$'):
        operation(make())
    with pytest.raises(FileNotFoundError, match=r'^checkpoint given\.pth does not exist$'):
        operation(make({'load_from': 'given.pth'}))


def test_other_work_on_the_processors_is_said(make, monkeypatch):
    monkeypatch.setattr('mmdmt.engine.runner.crowded', lambda: 'Other work shares the processors')
    runner = make()
    runner.train(phase='00_train_a')
    assert (runner.work_dir / 'dmt.log').read_text().count('Other work shares the processors') == 1


def test_files_of_killed_processes_are_swept_before_a_phase(make, monkeypatch):
    """Of phases too that are not run now."""
    runner = make()
    runner.manifest.start(runner.cfg)
    complete(runner, '00_train_a', checkpoint='iter_4.pth')
    left = runner.work_dir / f'00_train_a/.x.pth~{socket.gethostname()}~{2**22 + 1}.tmp'  # above any process number
    left.touch()
    monkeypatch.setattr(PhaseSequence, '_run', lambda self, resolved: None)
    runner.train(phase='00_train_b')
    assert not left.exists()
    assert runner.manifest.path.is_file()


@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='a system without /proc')
@pytest.mark.parametrize('operation', ['train', 'dry_run'])
def test_work_dir_that_cannot_be_written(tiny_config, operation):
    """Permissions let root write there, but the system does not."""
    runner = DMTRunner(tiny_config('/proc/new'))
    with pytest.raises(UnwritableError, match=r'^/proc/new cannot be written: /proc: '):
        getattr(runner, operation)()


def test_file_in_the_place_of_a_phase(make):
    runner = make()
    runner.work_dir.mkdir()
    (runner.work_dir / '01_label_a').write_text('')
    with pytest.raises(UnwritableError, match=r'01_label_a cannot be a folder: .*01_label_a is a file$'):
        runner.train()
    assert not runner.manifest.path.exists()

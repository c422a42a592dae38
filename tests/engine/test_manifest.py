import json
import shutil

import pytest
import torch

from mmdmt.core.schedule import plan
from mmdmt.engine.manifest import Manifest, checkpoints, flatten, latest_checkpoint
from mmdmt.errors import DamagedFileError, ExistingRunError

PHASES = plan('mutual', ['a', 'b'], (0.5, 1.0))


@pytest.fixture
def manifest(tmp_path):
    return Manifest(tmp_path / 'run', PHASES)


def complete(manifest, name, **record):
    folder = manifest.folder(name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'phase.json').write_text(json.dumps(record))
    if 'checkpoint' in record:
        torch.save({}, folder / record['checkpoint'])


def test_new_work_dir_is_accepted(manifest, tiny_config):
    manifest.check(tiny_config(manifest.work_dir), resume=False)
    manifest.check(tiny_config(manifest.work_dir), resume=True)


def test_existing_run_needs_resume(manifest, tiny_config):
    cfg = tiny_config(manifest.work_dir)
    manifest.start(cfg)
    with pytest.raises(FileExistsError, match='already holds a DMT run: add --resume'):
        manifest.check(cfg, resume=False)
    manifest.check(cfg, resume=True)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'dmt.label_ratios': (0.2, 1.0)}, r'dmt\.label_ratios: \[0\.5, 1\.0\] -> \[0\.2, 1\.0\]'),
        ({'dmt.models.a.randomness.seed': 3}, r'dmt\.models\.a\.randomness\.seed: absent -> 3'),
        ({'optim_wrapper.optimizer.lr': 0.5}, r'optim_wrapper\.optimizer\.lr: 0\.05 -> 0\.5'),
        ({'dmt.labeled.indices': 3}, r'dmt\.labeled\.indices: 4 -> 3'),
        ({'param_scheduler': [dict(type='PolyLR', power=2.0)]}, r'param_scheduler\.0\.power: 0\.9 -> 2\.0'),
    ],
)
def test_changed_config_is_named(manifest, tiny_config, options, message):
    """Of a run with a phase that did not store what it began with."""
    manifest.start(tiny_config(manifest.work_dir))
    manifest.check(tiny_config(manifest.work_dir, options), resume=True)
    complete(manifest, '00_train_a')
    with pytest.raises(ValueError, match=message):
        manifest.check(tiny_config(manifest.work_dir, options), resume=True)
    (manifest.folder('00_train_a') / 'inputs.json').write_text('{"run": {}, "inputs": {}}')
    manifest.check(tiny_config(manifest.work_dir, options), resume=True)


@pytest.mark.parametrize('left', ['iter_4.pth', 'labels.json', 'part-0.csv'])
def test_changed_config_of_an_interrupted_phase_whose_inputs_are_lost(manifest, tiny_config, left):
    manifest.start(tiny_config(manifest.work_dir))
    folder = manifest.folder('00_train_a')
    folder.mkdir()
    changed = tiny_config(manifest.work_dir, {'optim_wrapper.optimizer.lr': 0.5})
    (folder / 'config.py').touch()
    manifest.check(changed, resume=True)  # nothing to go on with
    (folder / left).touch()
    manifest.check(tiny_config(manifest.work_dir), resume=True)
    with pytest.raises(ValueError, match=r'lr: 0\.05 -> 0\.5\): restore that config'):
        manifest.check(changed, resume=True)


@pytest.mark.parametrize(
    'options',
    [
        {'train_dataloader.num_workers': 7, 'train_dataloader.persistent_workers': True},
        {'dmt.labeled.data_root': 'elsewhere', 'data_root': 'elsewhere'},
        {'work_dir': 'elsewhere'},
        {'resume': True, 'launcher': 'pytorch'},
        {'default_hooks.logger.interval': 7},
    ],
    ids=str,
)
def test_what_may_change(manifest, tiny_config, options):
    manifest.start(tiny_config(manifest.work_dir))
    complete(manifest, '00_train_a')
    manifest.check(tiny_config(manifest.work_dir, options), resume=True)


def test_start_keeps_the_first_config_beside_that_of_now(manifest, tiny_config):
    first, second = tiny_config(manifest.work_dir), tiny_config(manifest.work_dir, {'optim_wrapper.optimizer.lr': 0.5})
    manifest.start(first)
    before, written = json.loads(manifest.path.read_text()), manifest.path.stat().st_mtime_ns
    assert (before['config'], 'now' in before) == (flatten(first), False)
    assert [phase['name'] for phase in before['plan']] == [phase.name for phase in PHASES]
    manifest.start(first)
    assert manifest.path.stat().st_mtime_ns == written
    shorter = Manifest(manifest.work_dir, PHASES[:2])
    shorter.start(second)
    found = json.loads(manifest.path.read_text())
    assert (found['config'], found['now']) == (flatten(first), flatten(second))
    assert [phase['name'] for phase in found['plan']] == [phase.name for phase in PHASES[:2]]
    manifest.start(first)
    assert json.loads(manifest.path.read_text()) == before


def test_run_of_another_toolbox(manifest, tiny_config):
    manifest.start(tiny_config(manifest.work_dir))
    other = tiny_config(manifest.work_dir, {'default_scope': 'mmpretrain'})
    with pytest.raises(FileExistsError, match=r"of another toolbox \(default_scope 'mmseg' -> 'mmpretrain'\): choose"):
        manifest.check(other, resume=True)


def test_changes_of_the_phases(manifest, tiny_config):
    """One sentence for phases with the same changes."""
    manifest.start(tiny_config(manifest.work_dir))
    rate = {'optim_wrapper.optimizer.lr': 0.5}
    for name, options in (('00_train_a', {}), ('00_train_b', rate), ('01_label_b', rate), ('01_train_a', {'x': 1})):
        run = flatten(tiny_config(manifest.work_dir, options))
        manifest.folder(name).mkdir()
        (manifest.folder(name) / 'inputs.json').write_text(json.dumps(dict(run=run, inputs={})))
    assert manifest.told_changes() == [
        'Phases 00_train_b, 01_label_b began with a changed config: optim_wrapper.optimizer.lr: 0.05 -> 0.5.',
        'Phase 01_train_a began with a changed config: x: absent -> 1.',
    ]


def test_sources_of_phases_that_were_not_trained(manifest):
    """A report names no folder of the machine."""
    complete(manifest, '00_train_a', taken_over=str(manifest.work_dir.parent / 'first/iter_4.pth'))
    complete(manifest, '00_train_b', taken_over='weights/b.pth')
    complete(manifest, '01_label_a')
    assert manifest.told_sources() == [
        'Not trained here: 00_train_a uses ../first/iter_4.pth.', 'Not trained here: 00_train_b uses weights/b.pth.'
    ]  # fmt: skip


def test_missing_names_the_inputs(manifest):
    phase = {phase.name: phase for phase in PHASES}['01_train_b']
    assert manifest.missing(phase) == ['00_train_b', '01_label_a']
    complete(manifest, '01_label_a')
    assert manifest.missing(phase) == ['00_train_b']
    complete(manifest, '00_train_b')
    assert manifest.missing(phase) == []


def test_folder_without_record_is_not_complete(manifest):
    manifest.folder('00_train_a').mkdir(parents=True)
    torch.save({}, manifest.folder('00_train_a') / 'iter_4.pth')
    assert not manifest.is_complete('00_train_a')
    complete(manifest, '00_train_a', checkpoint='iter_4.pth')
    assert manifest.is_complete('00_train_a')


def test_lost_checkpoint_is_named(manifest):
    complete(manifest, '00_train_a', checkpoint='iter_4.pth')
    (manifest.folder('00_train_a') / 'iter_4.pth').unlink()
    with pytest.raises(FileNotFoundError, match=r'iter_4\.pth: checkpoint of phase 00_train_a not found'):
        manifest.checkpoint('00_train_a')


def test_moved_work_dir(manifest, tiny_config, tmp_path):
    manifest.start(tiny_config(manifest.work_dir))
    complete(manifest, '00_train_a', checkpoint='iter_4.pth')
    shutil.move(manifest.work_dir, tmp_path / 'moved')
    moved = Manifest(tmp_path / 'moved', PHASES)
    moved.check(tiny_config(tmp_path / 'moved'), resume=True)
    assert moved.checkpoint('00_train_a') == tmp_path / 'moved/00_train_a/iter_4.pth'


def save(folder, number, phase='00_train_a'):
    folder.mkdir(exist_ok=True)
    path = folder / f'iter_{number}.pth'
    torch.save({'weight': torch.randn(2000), 'meta': dict(dmt=dict(phase=phase))}, path)
    return path


@pytest.mark.parametrize('how', ['truncated', 'empty', 'zeroed'])
def test_latest_checkpoint(tmp_path, how):
    folder = tmp_path / '00_train_a'
    assert latest_checkpoint(folder) == (None, [])
    paths = [save(folder, number) for number in (2, 9, 10)]
    torch.save({}, folder / 'best_mIoU_iter_12.pth')
    for name in ('iter_x.pth', 'iter_99.pth.part'):
        (folder / name).write_bytes(b'stray')
    assert latest_checkpoint(folder) == (paths[2], [])
    assert list(checkpoints(folder)) == [2, 9, 10]
    for index in (2, 1, 0):
        content = paths[index].read_bytes()
        size = len(content) // 3
        middle = content[:size] + bytes(size) + content[2 * size :]
        paths[index].write_bytes(dict(truncated=content[:size], empty=b'', zeroed=middle)[how])
        found, lines = latest_checkpoint(folder)
        assert found == (paths[index - 1] if index else None)
        assert not paths[index].exists()
        (line,) = lines
        assert line.startswith(f'{paths[index]} is damaged')
    assert sorted(path.name for path in folder.iterdir()) == ['best_mIoU_iter_12.pth', 'iter_99.pth.part', 'iter_x.pth']


def test_checkpoint_of_another_phase_is_not_resumed(tmp_path):
    folder = tmp_path / '00_train_a'
    own, foreign = save(folder, 2), save(folder, 4, '00_train_b')
    assert latest_checkpoint(folder) == (own, [f'{foreign} is not of phase 00_train_a: it is not used'])
    torch.save({'state_dict': {}}, folder / 'iter_6.pth')
    assert latest_checkpoint(folder)[0] == own
    assert foreign.exists()


@pytest.mark.parametrize('content', ['', '{"config"', '[]', '{}', '{"config": []}', 'null'])
def test_damaged_plan(manifest, tiny_config, content):
    cfg = tiny_config(manifest.work_dir)
    manifest.start(cfg)
    manifest.path.write_text(content)
    with pytest.raises(DamagedFileError, match=rf'{manifest.path} is damaged.*restore it from a copy, or'):
        manifest.check(cfg, resume=True)


@pytest.mark.parametrize('left', ['phase.json', 'iter_4.pth', 'labels.json', 'part-0.csv'])
@pytest.mark.parametrize('resume', [True, False])
def test_phases_of_an_unknown_run_are_not_taken_over(manifest, tiny_config, left, resume):
    folder = manifest.folder('00_train_a')
    folder.mkdir(parents=True)
    manifest.check(tiny_config(manifest.work_dir), resume)  # an empty folder is nobody's
    (folder / left).touch()
    with pytest.raises(ExistingRunError, match=r'holds phases of a run \(e\.g\. 00_train_a\), but no dmt\.json'):
        manifest.check(tiny_config(manifest.work_dir), resume)


@pytest.mark.parametrize('content', ['', '{"phase": "00_tr', '[1]', 'null', '{"phase": "00_train_b"}'])
def test_damaged_record_is_none(manifest, content):
    complete(manifest, '00_train_a', checkpoint='iter_4.pth')
    (manifest.folder('00_train_a') / 'phase.json').write_text(content)
    assert manifest.record('00_train_a') is None
    assert not manifest.is_complete('00_train_a')

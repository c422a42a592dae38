import json
import shutil

import pytest
import torch

from mmdmt.core.schedule import plan
from mmdmt.engine.manifest import Manifest, checkpoints, flatten, latest_checkpoint

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


def test_start_keeps_the_first_config(manifest, tiny_config):
    manifest.start(tiny_config(manifest.work_dir))
    before = manifest.path.read_text()
    manifest.start(tiny_config(manifest.work_dir, {'optim_wrapper.optimizer.lr': 0.5}))
    assert manifest.path.read_text() == before
    assert [phase['name'] for phase in json.loads(before)['plan']] == [phase.name for phase in PHASES]


def test_changes_of_the_phases(manifest, tiny_config):
    manifest.start(tiny_config(manifest.work_dir))
    for name, options in (('00_train_a', {}), ('00_train_b', {'optim_wrapper.optimizer.lr': 0.5})):
        run = flatten(tiny_config(manifest.work_dir, options))
        manifest.folder(name).mkdir()
        (manifest.folder(name) / 'inputs.json').write_text(json.dumps(dict(run=run, inputs={})))
    assert manifest.changes() == {'00_train_b': 'optim_wrapper.optimizer.lr: 0.05 -> 0.5'}


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


def test_latest_checkpoint(tmp_path):
    assert latest_checkpoint(tmp_path / 'no such folder') is None
    for number in (2, 9, 10):
        torch.save({'weight': torch.zeros(100)}, tmp_path / f'iter_{number}.pth')
    torch.save({}, tmp_path / 'best_mIoU_iter_12.pth')
    assert latest_checkpoint(tmp_path) == tmp_path / 'iter_10.pth'
    assert list(checkpoints(tmp_path)) == [2, 9, 10]
    cut = (tmp_path / 'iter_10.pth').read_bytes()
    (tmp_path / 'iter_10.pth').write_bytes(cut[: len(cut) // 2])
    assert latest_checkpoint(tmp_path) == tmp_path / 'iter_9.pth'
    assert not (tmp_path / 'iter_10.pth').exists()
    for number in (2, 9):
        (tmp_path / f'iter_{number}.pth').write_bytes(b'')
    assert latest_checkpoint(tmp_path) is None
    assert [path.name for path in tmp_path.glob('*.pth')] == ['best_mIoU_iter_12.pth']

"""Settings and data of a phase must be, on resume, those that it began with."""

import json
import shutil

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

from mmdmt.engine import DMTRunner
from mmdmt.engine.divergence import MARK
from mmdmt.errors import UserError
from mmdmt.labels.maps import LabelMaps


@pytest.fixture
def make(folder_config, tmp_path):
    """``make(options, folder)``: a runner of ``folder_config`` with options whose data is prepared."""

    def prepare(options=None, folder='run'):
        cfg = folder_config.copy()
        cfg.merge_from_dict({**(options or {}), 'work_dir': str(tmp_path / folder)})
        runner = DMTRunner(cfg)
        init_default_scope('mmseg')
        runner.data.prepare(tmp_path / folder / 'splits')
        runner.manifest.start(cfg)
        return runner

    return prepare


def begin(runner, name, complete=False, checkpoint=False):
    runner.inputs.store(name, runner.cfg)
    if complete:
        (runner.manifest.folder(name) / 'phase.json').write_text('{}')
    if checkpoint:
        torch.save({}, runner.manifest.folder(name) / 'iter_2.pth')


def test_same_settings(make):
    begin(make(), '00_train_a', complete=True)
    begin(make(), '01_label_a')
    assert make().inputs.check() == []


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'optim_wrapper.optimizer.lr': 0.5}, r'optim_wrapper\.optimizer\.lr: 0\.05 -> 0\.5'),
        ({'dmt.supervised.iters': 5}, r'train_cfg\.iters: 4 -> 5'),
        ({'randomness.seed': 3}, r'randomness\.seed: \d+ -> \d+'),
        ({'model.decode_head.dropout_ratio': 0.3}, r'model\.decode_head\.dropout_ratio: 0\.1 -> 0\.3'),
        ({'dmt.select': 'val'}, r'dmt\.select: last -> val'),
        ({'custom_hooks': [dict(type='EMAHook')]}, r"custom_hooks\.0\.type: absent -> 'EMAHook'"),
    ],
)
def test_settings_of_a_complete_phase_may_not_change(make, options, message):
    begin(make(), '00_train_a', complete=True)
    with pytest.raises(
        UserError, match=rf'phase 00_train_a .* is complete with another config \(.*{message}'
    ) as raised:
        make(options).inputs.check()
    assert '--accept-changes to keep its result' in str(raised.value)


@pytest.mark.parametrize(
    'options',
    [
        {'dmt.semi.optim_wrapper.optimizer.lr': 0.5, 'dmt.semi.iters': 9},
        {'dmt.label_ratios': (0.5, 0.8, 1.0)},
        {'dmt.label_ratios': (0.7,)},
        {'dmt.keep_labels': False, 'dmt.rehearse': True, 'dmt.models.b.model.decode_head.channels': 8},
        {'train_dataloader.num_workers': 2, 'log_level': 'ERROR', 'default_hooks.logger.interval': 9},
        {'test_dataloader.batch_size': 2, 'test_evaluator.iou_metrics': ['mFscore']},
    ],
    ids=str,
)
def test_settings_of_later_phases_and_harmless_ones_may_change(make, options):
    begin(make(), '00_train_a', complete=True)
    assert make(options).inputs.check() == []


def test_accepted_changes_keep_complete_phases(make):
    changed = {'optim_wrapper.optimizer.lr': 0.5}
    begin(make(), '00_train_a', complete=True)
    begin(make(), '00_train_b', checkpoint=True)
    with pytest.raises(UserError, match='phase 00_train_a'):
        make(changed).inputs.check()
    runner = make(changed)
    assert [line.split(';')[0] for line in runner.inputs.check(accept=True)] == [
        'Phase 00_train_a keeps its result',
        'Phase 00_train_b starts again',
    ]
    assert not list(runner.manifest.folder('00_train_b').iterdir())
    assert make(changed).inputs.check() == []  # they are accepted once and for all
    with pytest.raises(UserError, match=r'lr: 0\.5 -> 0\.6'):
        make({'optim_wrapper.optimizer.lr': 0.6}).inputs.check()


def test_interrupted_phase_is_not_lost_without_a_word(make):
    changed = {'optim_wrapper.optimizer.lr': 0.5}
    begin(make(), '00_train_a', checkpoint=True)
    with pytest.raises(UserError, match=r'phase 00_train_a .* has begun with another config .* to start it again'):
        make(changed).inputs.check()
    folder = make().manifest.folder('00_train_a')
    assert (folder / 'iter_2.pth').is_file()
    (folder / MARK).touch()
    (folder / '20260101_000000').mkdir()
    assert [line.split(';')[0] for line in make(changed).inputs.check()] == ['Phase 00_train_a starts again']
    assert [path.name for path in folder.iterdir()] == ['20260101_000000']  # the log of the attempt


def test_phase_without_a_checkpoint_starts_again(make):
    begin(make(), '00_train_a')
    assert len(make({'optim_wrapper.optimizer.lr': 0.5}).inputs.check()) == 1


def test_labels_of_an_interrupted_phase_are_not_lost_without_a_word(make):
    runner = make()
    begin(runner, '01_label_a')
    store = LabelMaps(runner.manifest.folder('01_label_a'))
    store.write('000000_unlabeled0', np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.uint16))
    with pytest.raises(UserError, match=r'phase 01_label_a .* has begun .*batch_size: 1 -> 3'):
        make({'test_dataloader.batch_size': 3}).inputs.check()


@pytest.mark.parametrize(
    ('name', 'lines', 'refused'),
    [
        ('labeled', ['labeled0'], ['00_train_a', '01_train_a']),
        ('labeled', ['labeled1', 'labeled0', 'labeled2'], ['00_train_a', '01_train_a']),
        ('unlabeled', ['unlabeled0'], ['01_label_a', '01_train_a']),
        ('val', ['val0'], ['00_train_a', '01_train_a']),
    ],
)
def test_lists_of_images_may_not_change(make, folder_data, name, lines, refused):
    runner = make()
    assert runner.inputs.now  # before the list changes
    (folder_data / f'{name}.txt').write_text('\n'.join(lines))
    for phase in ('00_train_a', '01_label_a', '01_train_a'):
        begin(runner, phase, complete=True)
        if phase in refused:
            with pytest.raises(
                UserError, match=rf'images of .*{name}.*: \d \({name}\.txt\), names \w+ -> {len(lines)} '
            ):
                make().inputs.check()
        else:
            assert make().inputs.check() == []
        shutil.rmtree(runner.manifest.folder(phase))


def test_class_of_an_image_may_not_change(make, monkeypatch):
    """Of an image set that names the class of each image, as those of classification do."""
    runner = make()
    images = [dict(img_path='x/a.png', gt_label=0), dict(img_path='x/b.png', gt_label=1)]

    class Images(list):
        get_data_info = list.__getitem__

    def described(change):
        monkeypatch.setattr(runner.data, 'dataset', lambda config, key: Images(change(dict(info)) for info in images))
        return runner.inputs._images(dict(ann_file='list.txt', change=change), 'dmt.labeled')

    assert described(lambda info: info) == described(lambda info: {**info, 'img_path': f'/moved/{info["img_path"]}'})
    assert described(lambda info: info) != described(lambda info: {**info, 'gt_label': 0})


def test_mark_of_a_diverged_attempt_is_gone_once_the_phase_begins_again(make):
    """Otherwise, the next attempt could be lost without a word."""
    runner = make()
    begin(runner, '00_train_a')
    mark = runner.manifest.folder('00_train_a') / MARK
    mark.touch()
    begin(runner, '00_train_a', checkpoint=True)
    assert not mark.exists()
    with pytest.raises(UserError, match='to start it again'):
        make({'optim_wrapper.optimizer.lr': 0.5}).inputs.check()


def test_another_number_of_processes(make, monkeypatch):
    """A complete phase is kept. An interrupted one has counted its steps with another length."""
    epochs = {'dmt.supervised': dict(_delete_=True, epochs=8), 'param_scheduler.0.end': 20000}
    begin(make(epochs), '00_train_a', complete=True)
    begin(make(epochs), '00_train_b', checkpoint=True)
    monkeypatch.setattr('mmdmt.engine.phase_config.get_world_size', lambda: 2)
    with pytest.raises(
        UserError, match=r'phase 00_train_b .* has begun with another config \(optimizer steps: 12 -> 6\)'
    ):
        make(epochs).inputs.check()
    shutil.rmtree(make().manifest.folder('00_train_b'))
    assert make(epochs).inputs.check() == []


def test_moved_data_and_work_dir(make, folder_data, tmp_path):
    split = {'dmt.split': dict(ratio=2), 'dmt.unlabeled.ann_file': 'labeled.txt'}
    begin(make(split), '00_train_a', complete=True)
    shutil.move(folder_data, tmp_path / 'moved')
    shutil.move(tmp_path / 'run', tmp_path / 'elsewhere')
    roots = {f'{name}.data_root': str(tmp_path / 'moved') for name in
             ('dmt.labeled', 'dmt.unlabeled', 'val_dataloader.dataset', 'test_dataloader.dataset')}  # fmt: skip
    assert make({**split, **roots}, 'elsewhere').inputs.check() == []


def test_what_is_stored(make):
    runner = make()
    begin(runner, '01_train_b')
    stored = json.loads((runner.manifest.folder('01_train_b') / 'inputs.json').read_text())
    assert stored['run'] == runner.manifest.config()
    assert stored['inputs']['phase.labels'] == "'01_label_a'"
    assert stored['inputs']['images of dmt.unlabeled'].startswith('4 (unlabeled.txt), names ')
    assert not [key for key in stored['inputs'] if key.startswith(('custom_hooks.', 'dmt.models', 'default_hooks'))]
    assert not [value for value in stored['inputs'].values() if str(runner.work_dir) in value]


def test_mixed_precision_goes_on_on_another_device(make):
    """``--amp`` gives another wrapper there."""
    begin(make({'optim_wrapper.type': 'AmpOptimWrapper'}), '00_train_a', complete=True)
    assert make({'optim_wrapper.type': 'CPUAmpOptimWrapper'}).inputs.check() == []
    with pytest.raises(UserError, match=r"optim_wrapper\.type: 'AmpOptimWrapper' -> 'OptimWrapper'"):
        make({'optim_wrapper.type': 'OptimWrapper'}).inputs.check()

"""Images held out: what is drawn is tested with the splits; here, that no phase trains on them."""

import re
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from mmdmt.engine import DMTRunner
from mmdmt.engine.manifest import Manifest

HOLDOUT = {'dmt.select': 'holdout', 'dmt.holdout': 0.34, 'dmt.semi.iters': 12}


@pytest.fixture
def config(folder_config):
    folder_config.merge_from_dict(HOLDOUT)
    return folder_config


def trained(runner):
    """Names of the labeled images of each train phase, and of those that it validates on."""
    names = {}
    for name, resolved in runner.data.phases.items():
        if resolved.steps:
            cfg, stage = resolved.config, 'supervised' if resolved.phase.supervised else 'semi'
            whole = cfg.train_dataloader.dataset.dataset
            human = whole if resolved.phase.supervised else whole.datasets[0]
            assert human.to_dict() == resolved.data.labeled[stage]
            chosen = cfg.val_dataloader.dataset.to_dict()
            names[name] = [_names(runner, dataset) for dataset in (human.to_dict(), chosen)]
    return names


def _names(runner, config):
    dataset = runner.data.dataset(config, 'dmt.labeled')
    return {Path(dataset.get_data_info(idx)['img_path']).stem for idx in range(len(dataset))}


def test_no_phase_trains_on_them(config, folder_data):
    (folder_data / 'labeled_b.txt').write_text('labeled0\nlabeled2\n')
    config.dmt.models.b = dict(supervised=dict(labeled=dict(ann_file='labeled_b.txt')))
    config.val_dataloader.batch_size = 1
    runner = DMTRunner(config)
    runner.train()
    (held,) = {line.removesuffix('.png') for line in (runner.work_dir / 'splits/holdout.txt').read_text().split()}
    everything = {'labeled0', 'labeled1', 'labeled2'}
    for name, (learned, validated) in trained(runner).items():
        expected = {'labeled0', 'labeled2'} if name == '00_train_b' else everything
        assert learned == expected - {held}
        assert validated == {held}
        cfg = Config.fromfile(runner.work_dir / name / f'{name}.py', import_custom_modules=False)
        transforms = cfg.val_dataloader.dataset.dataset.pipeline
        assert [transform.type for transform in transforms] == [item.type for item in config.test_pipeline]
    record = Manifest(runner.work_dir, runner.plan.phases).record('02_train_a')
    assert record['select'] == 'holdout'
    assert record['labeled'] == 2
    assert record['checkpoint'].startswith('best_mIoU')
    text = (runner.work_dir / 'report.md').read_text()
    assert re.search(r'^Best: model \w, mIoU [\d.]+ on the held-out labeled images', text, re.M)
    assert 'the best mIoU on the held-out labeled images, on which the figures above are also measured' in text
    assert 'chosen by mIoU on the held-out labeled images.' in text
    assert 'validation set' not in text


def test_plan_says_what_is_held_out(config):
    text = DMTRunner(config).dry_run()
    assert 'model a: 2 labeled, 4 unlabeled images; 1 labeled images held out (splits/holdout.txt)' in text


def test_without_a_validation_set(config):
    config.update(val_dataloader=None, val_cfg=None, val_evaluator=None)
    config.dmt.rehearse = True
    assert 'held out' in DMTRunner(config).dry_run()
    config.update(test_evaluator=None, test_dataloader=None, test_cfg=None)
    with pytest.raises(ValueError, match=r"^dmt\.select='holdout' needs a val_dataloader or a test_dataloader"):
        DMTRunner(config)


def test_with_a_split(config, folder_data, write_image):
    """The draw is of the labeled ones of the split; a moved data set keeps it."""
    rng = np.random.default_rng(0)
    for index in range(16):
        write_image(folder_data / f'images/more{index:02d}.png', rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        write_image(folder_data / f'masks/more{index:02d}.png', rng.integers(0, 3, (24, 32), dtype=np.uint8))
    (folder_data / 'labeled.txt').write_text('\n'.join(f'more{index:02d}' for index in range(16)))
    config.dmt.split = dict(ratio=2, difference_maximised=0.75)
    config.dmt.unlabeled.ann_file = 'labeled.txt'
    config.dmt.holdout = 0.25
    runner = DMTRunner(config)
    runner.data.prepare(runner.work_dir / 'splits')
    lists = {path.stem: set(path.read_text().split()) for path in (runner.work_dir / 'splits').iterdir()}
    held = {name.removesuffix('.png') for name in lists['holdout']}
    assert len(held) == 2
    assert held < lists['labeled']
    for name, (learned, validated) in trained(runner).items():
        model = name[-1]
        assert learned == (lists[f'labeled_{model}'] if name.startswith('00') else lists['labeled']) - held
        assert validated == held
    moved = folder_data.rename(folder_data.with_name('moved'))
    for dataset in (config.dmt.labeled, config.dmt.unlabeled, config.val_dataloader.dataset):
        dataset.data_root = str(moved)
    DMTRunner(config).data.prepare(runner.work_dir / 'splits')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'dmt.select': 'last'}, r"^dmt\.holdout=0\.34 needs dmt\.select='holdout', got 'last'$"),
        ({'dmt.holdout': 1.0}, r'^dmt\.holdout must be below 1, got 1\.0$'),
        ({'dmt.holdout': 0.0}, r'^dmt\.holdout must be above 0, got 0\.0$'),
        ({'dmt.holdout': '0.1'}, r"^dmt\.holdout must be a number, got '0\.1'$"),
        ({'dmt.select': 'test'}, r"^dmt\.select must be one of 'last', 'val' or 'holdout', got 'test'$"),
    ],
)
def test_wrong_settings(config, options, message):
    config.merge_from_dict(options)
    with pytest.raises(ValueError, match=message):
        DMTRunner(config)


def test_image_that_cannot_be_spared(config, folder_data):
    (folder_data / 'labeled.txt').write_text('labeled0\n')
    with pytest.raises(ValueError, match=r"^dmt\.select='holdout': at least two images must show one class"):
        DMTRunner(config).dry_run()


def test_stage_of_which_nothing_is_left(config, folder_data):
    runner = DMTRunner(config)
    runner.data.prepare(runner.work_dir / 'splits')
    held = (runner.work_dir / 'splits/holdout.txt').read_text().strip().removesuffix('.png')
    (folder_data / 'one.txt').write_text(held + '\n')
    config.dmt.models.b = dict(supervised=dict(labeled=dict(ann_file='one.txt')))
    with pytest.raises(ValueError, match=r'leaves no labeled image for the phases of dmt\.supervised'):
        DMTRunner(config).dry_run()


def test_held_out_image_among_the_unlabeled_ones(config, folder_data):
    runner = DMTRunner(config)
    runner.data.prepare(runner.work_dir / 'splits')
    held = (runner.work_dir / 'splits/holdout.txt').read_text().strip().removesuffix('.png')
    (folder_data / 'unlabeled.txt').write_text(f'unlabeled0\n{held}\n')
    with pytest.raises(ValueError, match=r'dmt\.labeled and dmt\.unlabeled share 1 of their images'):
        DMTRunner(config).dry_run()


@pytest.mark.parametrize('amp', [False, True])
def test_labels_in_mixed_precision(config, amp):
    config.dmt.label_amp = amp
    runner = DMTRunner(config)
    runner.data.prepare(runner.work_dir / 'splits')
    assert runner.data.phases['01_label_a'].config.test_cfg.get('fp16', False) is amp

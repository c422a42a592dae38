"""What fails only when a phase is really run, fails before the first step."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmdmt.engine import DMTRunner, rehearsal
from mmdmt.errors import UserError
from tests.runs import assert_same_weights
from tests.steps import SELF_TAUGHT

SELF = {**SELF_TAUGHT, 'dmt.rehearse': True}


@pytest.fixture
def config(folder_config):
    folder_config.merge_from_dict(SELF)
    folder_config.model.decode_head.loss_decode = dict(type='DynamicMutualLoss', gamma1=1.0, gamma2=1.0)
    return folder_config


@pytest.fixture
def refused(config):
    """``refused(*parts of the message)``: dry run and run end before anything is trained or written."""

    def check(*parts):
        for operation in (DMTRunner.dry_run, DMTRunner.train):
            runner = DMTRunner(config)
            with pytest.raises(UserError) as caught:
                operation(runner)
            assert [part for part in parts if part not in str(caught.value)] == []
            assert len(str(caught.value).splitlines()) == 1
            assert not list(runner.work_dir.glob('**/*.pth'))
            assert not runner.manifest.path.exists()

    return check


def test_a_run_is_the_same_with_and_without(tiny_config, tmp_path):
    for name in ('with', 'without'):
        runner = DMTRunner(tiny_config(tmp_path / name, {**SELF, 'dmt.rehearse': name == 'with'}))
        runner.train()
    for phase in ('00_train_a', '01_train_a'):
        assert_same_weights(tmp_path / f'with/{phase}/iter_4.pth', tmp_path / f'without/{phase}/iter_4.pth')
    assert sorted(path.name for path in (tmp_path / 'with').iterdir()) == sorted(
        path.name for path in (tmp_path / 'without').iterdir()
    )


def test_nothing_is_written_by_a_dry_run(config, tmp_path):
    assert '00_train_a' in DMTRunner(config).dry_run()
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    ('options', 'parts'),
    [
        ({'dmt.semi.custom_hooks': [dict(type='EMAHok')]}, ['phase 01_train_a fails', 'EMAHok']),
        ({'dmt.supervised.optim_wrapper': dict(optimizer=dict(type='SDG'))}, ['phase 00_train_a fails', 'SDG']),
        ({'dmt.semi.param_scheduler': [dict(type='PoliLR', end=4)]}, ['phase 01_train_a fails', 'PoliLR']),
        ({'dmt.semi.model.decode_head.loss_decode.class_weight': [1.0, 2.0]}, ['01_train_a', 'class_weight', '[3]']),
        ({'dmt.semi.optim_wrapper.clip_grad': dict(norm=1)}, ['phase 01_train_a', 'dmt.semi, dmt.models.a']),
        ({'custom_hooks': [dict(type='EarlyStoppingHook', monitor='miou')]}, ["monitor='miou' is not one", 'mIoU']),
        ({'val_evaluator.iou_metrics': ['mIuU']}, ['phase 00_train_a fails', 'mIuU']),
        ({'dmt.metric': 'mIuO'}, ["dmt.metric='mIuO' is not one that val_evaluator gives", 'mIoU']),
        ({'test_evaluator': dict(type='IoUMetrik')}, ['the test of the result fails', 'IoUMetrik']),
    ],
    ids=['hook', 'optimizer', 'scheduler', 'class weight', 'clipping', 'monitor', 'evaluator', 'metric', 'test'],
)
def test_mistakes_of_a_later_phase_are_found_first(config, refused, options, parts):
    config.merge_from_dict(options)
    refused(*parts)


def test_image_that_the_label_pipeline_cannot_change(config, refused, folder_data, write_image):
    load, pack = dict(type='LoadImageFromFile'), dict(type='PackDMTInputs')
    config.dmt.label_pipeline = [load, dict(type='Resize', scale=(30, 20), keep_ratio=True), pack]
    write_image(folder_data / 'images/unlabeled3.png', np.zeros((400, 1, 3), np.uint8))
    refused('unlabeled3.png: a transform fails: error: OpenCV')


def test_batch_of_images_to_label_that_differ_in_size(config, refused, folder_data, write_image):
    """The pair that is tried is of the smallest and the largest image."""
    write_image(folder_data / 'images/unlabeled3.png', np.zeros((30, 40, 3), np.uint8))
    config.test_dataloader.batch_size = 2
    refused('phase 01_label_a fails', 'image size in a batch')


def test_run_without_a_test_set(config):
    config.update(test_dataloader=None, test_cfg=None, test_evaluator=None)
    runner = DMTRunner(config)
    runner.train()
    assert (runner.work_dir / 'best.pth').is_file()


def test_hooks_of_a_user_are_tried(config, refused, monkeypatch):
    class BrokenHook(Hook):
        def after_train_iter(self, runner, *_, **__):
            raise ZeroDivisionError('my own hook')

    monkeypatch.setitem(HOOKS.module_dict, 'BrokenHook', BrokenHook)
    config.dmt.semi.custom_hooks = [dict(type='BrokenHook')]
    refused('phase 01_train_a fails', 'ZeroDivisionError: my own hook')


@pytest.mark.parametrize(('gpu', 'expected'), [(True, [3, 1 + 3]), (False, [2, 1 + 2])])
def test_batches_have_their_true_size_on_a_gpu(config, monkeypatch, gpu, expected):
    """Without one, a large model would take minutes."""
    monkeypatch.setattr(rehearsal, 'is_cuda_available', lambda: gpu)
    sizes = []

    class SizeHook(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            sizes.append(len(data_batch['inputs']))

    monkeypatch.setitem(HOOKS.module_dict, 'SizeHook', SizeHook)
    config.custom_hooks = [dict(type='SizeHook')]
    config.train_dataloader.batch_size = 3
    config.dmt.semi.update(labeled_per_batch=1, unlabeled_per_batch=3)
    DMTRunner(config).dry_run()
    assert sizes == expected


def test_the_last_model_is_the_one_that_is_tested(folder_config, monkeypatch):
    """Of a mutual run this is model b, trained on the labels of a."""
    folder_config.dmt.rehearse = True
    loaded, original = [], Runner.test

    def test(runner):
        loaded.append(runner._load_from)
        return original(runner)

    monkeypatch.setattr(Runner, 'test', test)
    DMTRunner(folder_config).dry_run()
    phase = Path(loaded[-1]).parent.name
    trained = [phase.name for phase in DMTRunner(folder_config).manifest.phases if phase.kind == 'train']
    assert phase == [name for name in trained if name.startswith('01')][-1]


@pytest.mark.parametrize(('gpu', 'tried'), [(False, 1), (True, 2)])
def test_a_large_model_is_not_tried_for_long_without_a_gpu(config, monkeypatch, gpu, tried):
    """Of the baseline, labeling and training, only the baseline is tried."""
    trained, original = [], Runner.train
    monkeypatch.setattr(Runner, 'train', lambda runner: (trained.append(runner), original(runner)))
    monkeypatch.setattr(rehearsal, 'PATIENCE', 1.5)
    monkeypatch.setattr(rehearsal, 'is_cuda_available', lambda: gpu)
    monkeypatch.setattr(rehearsal, 'process_time', iter(range(99)).__next__)
    text = DMTRunner(config).dry_run()
    warning = 'warning: only the phases before 01_label_a were tried for one step'
    assert len(trained) == tried
    assert (warning in text) is not gpu

import json
import math
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.fileio import get

from mmdmt.analysis.label_analysis import Analysis, check_mask, has_masks
from mmdmt.analysis.report import render_analysis
from mmdmt.core.confidence import decode
from mmdmt.engine import DMTRunner
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.plan import RunPlan
from mmdmt.labels.maps import LabelMaps
from tests.runs import mtimes, run

MASKS = 'digits://train/masks'


@pytest.fixture(scope='module')
def cfg(tiny_config, tmp_path_factory):
    """Config of a complete run of two models and two iterations, that has kept its labels."""
    cfg = tiny_config(tmp_path_factory.mktemp('run'), {'dmt.supervised.iters': 12})
    DMTRunner(cfg).train()
    return cfg


@pytest.fixture(scope='module')
def result(cfg):
    before = mtimes(Path(cfg.work_dir), '**/*')
    result = Analysis(cfg, MASKS).run(100)
    assert mtimes(Path(cfg.work_dir), '**/*') == before
    return result


def stored(cfg, name):
    """Labels and codes of all images that a label phase left on disk, and the true labels, int [N, H, W]."""
    store = LabelMaps(Path(cfg.work_dir) / name)
    labels, codes, truth = [], [], []
    for image in sorted(store.names()):
        label, code = store.read(image)
        mask = cv2.imdecode(np.frombuffer(get(f'{MASKS}/{image.split("_")[1]}.png'), np.uint8), cv2.IMREAD_UNCHANGED)
        for column, part in zip((labels, codes, truth), (label, code, mask), strict=True):
            column.append(part.astype(int))
    return np.stack(labels), np.stack(codes), np.stack(truth), store


def test_figures_are_those_of_the_labels_that_the_run_has_used(cfg, result):
    assert result['images'] == 6
    assert list(result['phases']) == ['01_train_b', '01_train_a', '02_train_b', '02_train_a']
    for name, figures in result['phases'].items():
        label, code, truth, store = stored(cfg, f'{name[:2]}_label_{figures["teacher"]}')
        known = truth != 255
        right = label == truth
        for ratio, accuracy in zip((0.5, 1.0), figures['accuracy_by_ratio'], strict=True):
            kept = known & (code >= store.histogram().thresholds(ratio).astype(int)[label])
            assert accuracy == pytest.approx(right[kept].mean())
            if ratio == figures['label_ratio']:
                assert figures['accuracy'] == pytest.approx(right[kept].mean())
        assert figures['accuracy_all'] == pytest.approx(right[known].mean())


@pytest.mark.parametrize('name', ['02_train_b', '02_train_a'])
def test_students_are_those_of_the_beginning_of_a_phase(cfg, result, name):
    """The student of one direction is the teacher of the other, whose labels are on disk as well."""
    figures = result['phases'][name]
    label, code, truth, _ = stored(cfg, f'02_label_{figures["teacher"]}')
    own_label, own_code, *_ = stored(cfg, f'02_label_{figures["student"]}')
    known = truth != 255
    agree = known & (label == own_label)
    wins = known & (label != own_label) & (code < own_code)
    # At a code apart, the confidences may still be on either side of each other.
    tied = (known & (label != own_label) & (abs(code - own_code) <= 1)).sum() / known.sum()
    cases = figures['cases']
    assert cases['agreement']['share'] == pytest.approx(agree.sum() / known.sum())
    assert cases['student wins']['share'] == pytest.approx(wins.sum() / known.sum(), abs=tied + 1e-9)
    assert cases['agreement']['student_right'] == cases['agreement']['teacher_right']
    weight = (
        decode(torch.from_numpy(own_code)).numpy().astype(float) ** 2
    )  # where both agree, p_B is the student's confidence
    mass = figures['class_weight_mass'][0]
    selected = known & (label == 0)
    # Of class 0, what the pixels of agreement have, and at most p_B ** 2 <= 0.25 of those where another class is first.
    low = weight[agree & (label == 0)].sum() / selected.sum()
    high = low + 0.25 * (selected & (label != own_label) & (code >= own_code - 1)).sum() / selected.sum()
    assert low - 1e-4 <= mass <= high + 1e-4


def test_weights_are_those_of_the_loss_of_the_run(cfg, result, tmp_path):
    """The same run, as if it had had options: its labels are the same, the weights are others."""
    changed = cfg.copy()
    shutil.copytree(cfg.work_dir, tmp_path / 'run')
    for path in [tmp_path / 'run/dmt.json', *(tmp_path / 'run').glob('*/inputs.json')]:
        path.unlink()
    loss = dict(variant='naive', gamma1=0.0, gamma2=0.0)
    changed.merge_from_dict({'model.decode_head.loss_decode': loss, 'work_dir': str(tmp_path / 'run')})
    Manifest(tmp_path / 'run', RunPlan.of(changed).phases).start(changed)
    phases = Analysis(changed, MASKS).run(6)['phases']
    for name, figures in phases.items():
        assert figures['accuracy_by_ratio'] == result['phases'][name]['accuracy_by_ratio']
        weights = [weight for weight in figures['mean_weight'].values() if not math.isnan(weight)]
        assert weights == [1.0] * len(weights)
        assert result['phases'][name]['mean_weight'] != figures['mean_weight']


def test_fewer_images_are_spread_evenly(cfg, result):
    two = Analysis(cfg, MASKS).run(2)
    assert two['images'] == 2
    label, _, truth, _ = stored(cfg, '01_label_a')
    known = truth[[0, -1]] != 255
    expected = (label[[0, -1]] == truth[[0, -1]])[known].mean()
    assert two['phases']['01_train_b']['accuracy_all'] == pytest.approx(expected)


def test_tables_show_every_phase_and_class(result):
    text = render_analysis(result)
    for name in (*result['phases'], *result['classes']):
        assert f'| {name}' in text
    accuracy = result['phases']['02_train_a']['accuracy_all']
    assert f'{100 * accuracy:.1f}' in text
    assert 'nan' not in text


def test_tool_writes_tables_and_figures_of_a_run_in_progress(cfg, result, tmp_path, root):
    work_dir = tmp_path / 'run'
    shutil.copytree(cfg.work_dir, work_dir)
    (work_dir / '02_label_a/phase.json').unlink()
    config = tmp_path / 'config.py'
    cfg.dump(config)
    done = run(root / 'tools/analyze.py', config, '--work-dir', work_dir, '--images', 6, '--masks', MASKS)
    assert done.returncode == 0, done.stdout
    text = (work_dir / 'analysis.md').read_text()
    assert text in done.stdout
    phases = json.loads((work_dir / 'analysis.json').read_text())['phases']
    assert list(phases) == ['01_train_b', '01_train_a', '02_train_a']
    for name, figures in phases.items():
        assert figures['mean_weight'] == {
            side: None if math.isnan(value) else pytest.approx(value)
            for side, value in result['phases'][name]['mean_weight'].items()
        }


@pytest.mark.parametrize(
    ('options', 'masks', 'error', 'message'),
    [
        ({}, 'digits://train/none', FileNotFoundError, r'has no mask \(digits://train/none/000040\.png\)'),
        ({'work_dir': 'elsewhere'}, MASKS, FileNotFoundError, r'elsewhere holds no DMT run'),
        ({'dmt.semi.iters': 5}, MASKS, ValueError, r'another config \(train_cfg\.iters: 4 -> 5\)'),
        ({'dmt.reinitialise': True}, MASKS, ValueError, r'dmt\.reinitialise'),
        (
            {'dmt.scheme': 'single', 'dmt.models': dict(_delete_=True, a=dict()), 'dmt.label_ratios': ()},
            MASKS,
            ValueError,
            r"dmt\.scheme='single' has no pseudo labels",
        ),
        (
            {'default_scope': 'mmpretrain', 'dmt.label_pipeline': [dict(type='PackDMTInputs')]},
            MASKS,
            ValueError,
            r"default_scope='mmpretrain'.*segmentation",
        ),
    ],
)
def test_refuses(cfg, options, masks, error, message):
    changed = cfg.copy()
    changed.merge_from_dict(options)
    with pytest.raises(error, match=message):
        Analysis(changed, masks).run(6)


def test_number_of_images_is_checked(cfg):
    with pytest.raises(ValueError, match='images must be at least 1, got 0'):
        Analysis(cfg, MASKS).run(0)


def test_a_run_that_has_no_labels_yet_is_refused(cfg, tmp_path):
    shutil.copytree(cfg.work_dir, tmp_path / 'run')
    for path in (tmp_path / 'run').glob('0[12]_*/phase.json'):
        path.unlink()
    changed = cfg.copy()
    changed.work_dir = str(tmp_path / 'run')
    with pytest.raises(FileNotFoundError, match='no label phase is complete yet'):
        Analysis(changed, MASKS)


@pytest.mark.parametrize('mask', [None, 'digits://train/none/000040.png'])
def test_an_image_without_a_mask_is_named(mask):
    info = dict(img_path='digits://train/images/000040.png', **({} if mask is None else dict(seg_map_path=mask)))
    with pytest.raises(FileNotFoundError, match=r'digits://train/images/000040\.png has no mask .*--masks'):
        check_mask(info)


def test_whether_there_are_masks(tiny_config, tmp_path):
    assert has_masks(tiny_config(tmp_path))
    prefix = {'dmt.unlabeled.data_prefix.seg_map_path': 'digits://train/none'}
    assert not has_masks(tiny_config(tmp_path, prefix))
    assert not list(tmp_path.iterdir())

import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import init_default_scope

from mmdmt.analysis.label_browser import LabelBrowser, last_labels
from mmdmt.analysis.training_samples import sample_sheet, training_set
from mmdmt.engine import DMTRunner
from mmdmt.engine.cli import read_config
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.run_data import RunData
from mmdmt.errors import MissingFileError, UserError
from mmdmt.labels.table import LabelTable
from tests.test_end_to_end_cls import tiny


@pytest.fixture
def browse(tmp_path):
    """``browse(work_dir, phase)``: the browser of a label phase."""

    def make(work_dir, phase):
        cfg = read_config(work_dir / 'config.py', {'work_dir': str(work_dir)})
        init_default_scope(cfg.default_scope)
        plan = RunPlan.of(cfg)
        data = RunData(plan, work_dir)
        data.prepare(tmp_path / 'splits')
        return LabelBrowser(plan, Manifest(work_dir, plan.phases), data, phase)

    return make


def wrong(section):
    return [float(row[0].split('\n')[1].split(' %')[0]) for row in section.parts[0].rows]


def test_worst_maps_come_first(browse, reported_run):
    section = browse(reported_run, '01_label_a').sheet(4, worst=True)
    assert section.text == ['4 of 6 images, worst first.']
    found = wrong(section)
    assert found == sorted(found, reverse=True)
    everything = wrong(browse(reported_run, '01_label_a').sheet(6, worst=True))
    check = json.loads((reported_run / '01_label_a/label_check.json').read_text())
    number, right = np.sum(check['all'], axis=0)
    assert np.mean(everything) == pytest.approx(100 * (1 - right / number), abs=1.5)
    assert all(len(row) == 6 for row in section.parts[0].rows)


def test_evenly_chosen_maps(browse, reported_run):
    section = browse(reported_run, '01_label_a').sheet(2, worst=False)
    assert [row[0].split('\n')[0] for row in section.parts[0].rows] == ['000000_000040', '000005_000045']


def test_labels_of_a_class(browse, reported_run):
    info = json.loads((reported_run / '01_label_a/labels.json').read_text())
    counts = info['pixels_by_class']
    present, absent = counts.index(max(counts)), counts.index(0)
    browser = browse(reported_run, '01_label_a')
    assert browser.sheet(20, worst=True, only=str(present)).text[0].endswith(f'labels of class {present}.')
    with pytest.raises(UserError, match='no image has a label of class'):
        browser.sheet(20, worst=True, only=browser.classes[absent])
    with pytest.raises(UserError, match="--class 'cat' is not one of background, digit 0"):
        browser.sheet(20, worst=True, only='cat')


def test_whole_images(browse, tmp_path):
    cfg = tiny(tmp_path / 'run', {'dmt.label_ratios': (0.5,)})
    DMTRunner(cfg).train()
    (tmp_path / 'run/config.py').is_file()
    section = browse(tmp_path / 'run', '01_label_a').sheet(8, worst=True)
    cells = [cell for row in section.parts[0].rows for cell in row[1:]]
    assert [cell.mark for cell in cells] == ['wrong'] * 8
    rows = [row for row in LabelTable(tmp_path / 'run/01_label_a').rows() if row.label != row.true_label]
    surest = max(rows, key=lambda row: row.log_odds)
    assert cells[0].text == surest.name
    assert '(is ' in cells[0].note
    name, dataset, indices = training_set(cfg, '01_train_a', tmp_path / 'run', tmp_path / 'splits')
    said = [row[2:] for row in sample_sheet(name, dataset, indices, 8).parts[0].rows]
    # A batch has 2 labeled and 6 unlabeled images.
    assert [confidence == 'human' for _, confidence in said] == [True] * 2 + [False] * 6


@pytest.mark.parametrize(
    ('phase', 'message'), [('00_train_a', "'00_train_a' is not one of 01_label_a"), ('x', "'x' is not one of")]
)
def test_no_such_phase(browse, reported_run, phase, message):
    with pytest.raises(UserError, match=message):
        browse(reported_run, phase)


def test_labels_that_are_gone(browse, reported_run, tmp_path):
    import shutil

    copied = Path(shutil.copytree(reported_run, tmp_path / 'copy'))
    shutil.rmtree(copied / '01_label_a/labels')
    with pytest.raises(MissingFileError, match='were deleted after use'):
        browse(copied, '01_label_a')
    (copied / '01_label_a/labels.json').unlink()
    with pytest.raises(MissingFileError, match='is not complete'):
        browse(copied, '01_label_a')


def test_last_labels(reported_run, tiny_config, tmp_path):
    plan = RunPlan.of(tiny_config(tmp_path))
    assert last_labels(plan, reported_run) == '01_label_a'
    assert last_labels(plan, tmp_path) == '02_label_b'

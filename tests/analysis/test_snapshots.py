"""Snapshots of whole images, and of a method; those of label maps are tested with the report of a run."""

import json
import math
from pathlib import Path

import pytest
from mmengine.config import Config

from mmdmt.engine import DMTRunner
from mmdmt.labels.table import LabelTable
from tests.conftest import TINY
from tests.test_end_to_end_cls import tiny


def rows(work_dir, phase):
    return json.loads((work_dir / phase / 'pictures/snapshot.json').read_text())['images']


def test_whole_images(tmp_path):
    cfg = tiny(tmp_path / 'run', {'dmt.report': True, 'dmt.label_ratios': (0.5,)})
    DMTRunner(cfg).train()
    work_dir = tmp_path / 'run'
    found = {row.name: row for row in LabelTable(work_dir / '01_label_a').rows()}
    assert 'label' not in rows(work_dir, '00_train_a')[0]
    images = rows(work_dir, '01_train_a')
    assert len(images) == 12
    for row in images:
        own = found[row['name']]
        assert (row['label'], row['truth']) == (own.label, own.true_label)
        assert row['confidence'] == pytest.approx(1 / (1 + math.exp(-own.log_odds)), abs=1e-6)
        assert 0 <= row['weight'] <= 1
        assert (work_dir / f'pictures/{row["name"]}.png').is_file()
    assert {row['used'] for row in images} == {True, False}
    text = (work_dir / 'report.md').read_text()
    assert 'Accuracies are measured on 260 unlabeled images' in text
    assert 'Share of the images by confidence' in text
    accuracy = json.loads((work_dir / '01_label_a/phase.json').read_text())['accuracy']
    assert f'| {accuracy:.1f} ' in text


@pytest.mark.parametrize('baseline', [True, False])
def test_method_of_one_phase(tmp_path, root, baseline):
    cfg = Config.fromfile(root / 'configs/fixmatch/digits.py')
    own = {key: value for key, value in TINY.items() if key not in ('dmt.label_ratios', 'dmt.models.b')}
    options = {} if baseline else {'dmt.supervised': dict(_delete_=True)}
    cfg.merge_from_dict({**own, 'work_dir': str(tmp_path / 'run'), 'dmt.report': True, **options})
    DMTRunner(cfg).train()
    text = Path(tmp_path / 'run/report.md').read_text()
    assert ('| Baseline' in text) == baseline
    assert '| Method' in text
    assert '## Pseudo labels' not in text
    assert '## Pictures' in text
    assert 'Loss_unlabeled.' in text
    assert (tmp_path / 'run/01_train_a/pictures').is_dir()

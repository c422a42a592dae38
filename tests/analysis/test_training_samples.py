import pytest
from mmengine.config import Config

from mmdmt.analysis.document import Picture
from mmdmt.analysis.training_samples import sample_sheet, training_set
from mmdmt.engine.cli import read_config
from mmdmt.errors import UserError
from tests.conftest import TINY


@pytest.fixture
def sheet(tmp_path):
    """``sheet(cfg, work_dir, phase, number)``: name of the phase, and rows of the sheet."""

    def make(cfg, work_dir, phase=None, number=3):
        name, dataset, indices = training_set(cfg, phase, work_dir, tmp_path / 'splits')
        return name, sample_sheet(name, dataset, indices, number).parts[0].rows

    return make


def kinds(rows):
    return [[type(cell) is Picture for cell in row] for row in rows]


def test_phase_with_pseudo_labels(sheet, reported_run):
    cfg = read_config(reported_run / 'config.py', {'work_dir': str(reported_run)})
    name, rows = sheet(cfg, reported_run)
    assert name == '01_train_a'
    # A batch has 1 labeled image, before those of the teacher: 4 labeled images are first in the data set.
    assert [int(row[0]) < 4 for row in rows] == [True, False, False]
    assert kinds(rows) == [[False, True, True, True]] * 3
    human, teacher = rows[0][3], rows[1][3]
    assert human.content != teacher.content


def test_baseline_of_a_run_that_has_not_begun(sheet, tiny_config, tmp_path):
    name, rows = sheet(tiny_config(tmp_path / 'run'), tmp_path / 'run', number=5)
    assert name == '00_train_b'
    assert len(rows) == 5
    with pytest.raises(UserError, match='phase 01_train_b has no pseudo labels on disk'):
        sheet(tiny_config(tmp_path / 'run'), tmp_path / 'run', '01_train_b')
    with pytest.raises(UserError, match="'01_label_a' is not one of 00_train_a, 00_train_b, 01_train_b"):
        sheet(tiny_config(tmp_path / 'run'), tmp_path / 'run', '01_label_a')
    assert not (tmp_path / 'run').exists()


def test_views_of_a_method(sheet, root, tmp_path):
    cfg = Config.fromfile(root / 'configs/fixmatch/digits.py')
    own = {key: value for key, value in TINY.items() if key not in ('dmt.label_ratios', 'dmt.models.b')}
    cfg.merge_from_dict({**own, 'work_dir': str(tmp_path / 'run')})
    name, rows = sheet(cfg, tmp_path / 'run')
    assert name == '01_train_a'
    assert [row[0].split()[1:] for row in rows] == [[], ['weak'], ['strong'], ['weak'], ['strong']]


def test_ordinary_config(sheet, tiny_config, tmp_path):
    cfg = tiny_config(tmp_path / 'run')
    ordinary = Config(dict(train_dataloader=cfg.train_dataloader.to_dict(), default_scope='mmseg'))
    name, rows = sheet(ordinary, tmp_path)
    assert (name, [row[0] for row in rows]) == ('', ['0', '1', '2'])
    with pytest.raises(UserError, match='no train_dataloader'):
        sheet(Config(dict(default_scope='mmseg')), tmp_path)


def test_a_sample_that_is_not_packed(tiny_config, tmp_path, sheet):
    cfg = tiny_config(tmp_path / 'run')
    loader = cfg.train_dataloader.to_dict()
    loader['dataset']['pipeline'] = loader['dataset']['pipeline'][:1]
    with pytest.raises(UserError, match='must end with a Pack'):
        sheet(Config(dict(train_dataloader=loader, default_scope='mmseg')), tmp_path)

import csv
import io
import json
import re
from pathlib import Path

import pytest

from mmdmt.errors import MissingFileError, UserError
from mmdmt.experiments.run_comparison import columns, read_runs, write_comparison
from tests.analysis.conftest import label_maps, made_run

__all__ = ['label_maps', 'made_run']


def relabel(work_dir, labeled):
    for path in work_dir.glob('*/phase.json'):
        path.write_text(json.dumps({**json.loads(path.read_text()), 'labeled': labeled}))
    return work_dir


@pytest.fixture
def runs(made_run):
    """Two methods, the first with two seeds."""
    return [
        str(made_run('dmt_seed0')), str(made_run('dmt_seed1', 1, shift=1.0)), f'cbst={made_run("other", shift=-2.0)}'
    ]  # fmt: skip


def test_names_and_seeds(runs):
    assert [(run.method, run.seed, run.labeled, run.data_set) for run in read_runs(runs)] == [
        ('dmt', 0, 7, 'camvid'), ('dmt', 1, 7, 'camvid'), ('cbst', 0, 7, 'camvid'),
    ]  # fmt: skip


def test_two_runs_of_one_name_and_seed(made_run):
    with pytest.raises(UserError, match="are both 'dmt' with seed 0: name them apart, as in NAME=WORK_DIR"):
        read_runs([str(made_run('dmt_seed0')), str(made_run('dmt_seed5'))])


def test_no_run(tmp_path):
    with pytest.raises(MissingFileError, match='holds no DMT run'):
        read_runs([str(tmp_path)])


def test_scores(runs):
    (column,) = columns(read_runs(runs), 60.0).values()
    assert column.scores['baseline', 'a'] == {0: dict(mIoU=50.0), 1: dict(mIoU=50.0)}
    assert column.scores['dmt', 'b'] == {0: dict(mIoU=55.5), 1: dict(mIoU=56.5)}
    assert column.scores['cbst', 'b'] == {0: dict(mIoU=53.5)}
    assert next(iter(column.scores))[0] == 'baseline'


def test_tables(runs, tmp_path):
    page = write_comparison(read_runs(runs), tmp_path / 'out', 60.0)
    text = page.with_suffix('.md').read_text()
    # Mean and deviation of 55.5 and 56.5; the gap to the Oracle in brackets.
    assert '| dmt      | b      | 56.00 ± 0.71 (-4.00)' in text
    assert '| cbst     | b      | 53.50 (-6.50)' in text
    assert text.index('| oracle') > text.index('| cbst')
    assert '<table>' in page.read_text()
    rows = list(csv.DictReader(io.StringIO(page.with_suffix('.csv').read_text())))
    assert dict(rows[0]) == {
        'data set': 'camvid, 7 labeled', 'method': 'baseline', 'model': 'a', 'seed': '0', 'metric': 'mIoU',
        'value': '50.0000',
    }  # fmt: skip
    assert len(rows) == 2 * 2 + 2 * 2 + 2 + 2


def test_splits_have_a_chart(made_run, tmp_path):
    first, second = made_run('dmt_1'), relabel(made_run('more', shift=3.0), 21)
    page = write_comparison(read_runs([str(first), f'dmt={second}']), tmp_path / 'out')
    text = page.with_suffix('.md').read_text()
    assert 'mIoU by number of labels, camvid.' in text
    assert re.search(r'\| dmt b +\| 55\.50 +\| 58\.50 +\|', text)
    assert text.index('camvid, 7 labeled') < text.index('camvid, 21 labeled')


def test_incomplete_runs_are_named(runs, tmp_path):
    (Path(runs[1]) / '01_train_a/phase.json').unlink()
    text = write_comparison(read_runs(runs), tmp_path).with_suffix('.md').read_text()
    assert 'dmt_seed1 is not complete: 5 of 6 phases.' in text


def test_another_baseline_has_its_own_row(made_run):
    first, second = made_run('dmt'), made_run('other')
    path = second / '00_train_a/phase.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'metrics': dict(mIoU=8.0)}))
    (column,) = columns(read_runs([str(first), str(second)])).values()
    assert column.scores['baseline', 'a'] == {0: dict(mIoU=50.0)}
    assert column.scores['baseline of other', 'a'] == {0: dict(mIoU=8.0)}
    assert ('baseline of other', 'b') not in column.scores
    assert [method for method, _ in column.scores][:3] == ['baseline', 'baseline', 'baseline of other']

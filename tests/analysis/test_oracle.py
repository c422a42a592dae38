import json

import pytest

from mmdmt.analysis.oracle import oracle_figure
from mmdmt.errors import MissingFileError, UserError


def test_a_number():
    assert oracle_figure('74.75', 'mIoU') == 74.75


def test_a_file(tmp_path):
    (tmp_path / 'test.json').write_text('{"mIoU": 70.5, "aAcc": 90}')
    assert oracle_figure(str(tmp_path / 'test.json'), 'mIoU') == 70.5


def test_the_last_validation_of_a_training(tmp_path):
    for folder, scores in (('20260101_000000', [1.0, 2.0]), ('20260102_000000', [3.0, 4.5])):
        log = tmp_path / folder / 'vis_data/scalars.json'
        log.parent.mkdir(parents=True)
        log.write_text('\n'.join(json.dumps(line) for line in [dict(loss=1), *(dict(mIoU=score) for score in scores)]))
    assert oracle_figure(str(tmp_path), 'mIoU') == 4.5


@pytest.mark.parametrize('given', ['101', '-1', 'nan', 'inf'])
def test_not_in_percent(given):
    with pytest.raises(UserError, match='must be in percent'):
        oracle_figure(given, 'mIoU')


def test_nothing_there(tmp_path):
    with pytest.raises(MissingFileError, match='neither a number nor a file nor a folder'):
        oracle_figure('nowhere', 'mIoU')
    (tmp_path / 'test.json').write_text('{"mIoU": "high"}')
    for given in (tmp_path, tmp_path / 'test.json'):
        with pytest.raises(UserError, match='knows no mIoU'):
            oracle_figure(str(given), 'mIoU')

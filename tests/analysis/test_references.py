import json

import pytest

from mmdmt.analysis.references import References, figure, read_references
from mmdmt.errors import MissingFileError, UserError


def test_a_number():
    assert figure('--control', '74.75', 'mIoU') == 74.75


def test_a_file(tmp_path):
    (tmp_path / 'test.json').write_text('{"mIoU": 70.5, "aAcc": 90}')
    assert figure('--control', str(tmp_path / 'test.json'), 'mIoU') == 70.5


def test_the_last_validation_of_a_training(tmp_path):
    for folder, scores in (('20260101_000000', [1.0, 2.0]), ('20260102_000000', [3.0, 4.5])):
        log = tmp_path / folder / 'vis_data/scalars.json'
        log.parent.mkdir(parents=True)
        log.write_text('\n'.join(json.dumps(line) for line in [dict(loss=1), *(dict(mIoU=score) for score in scores)]))
    assert figure('--control', str(tmp_path), 'mIoU') == 4.5


@pytest.mark.parametrize('given', ['101', '-1', 'nan', 'inf'])
def test_not_in_percent(given):
    with pytest.raises(UserError, match=r'^--control .*: must be in percent'):
        figure('--control', given, 'mIoU')


def test_nothing_there(tmp_path):
    with pytest.raises(MissingFileError, match=r'^--control nowhere: is neither a number nor a file nor a folder'):
        figure('--control', 'nowhere', 'mIoU')
    (tmp_path / 'test.json').write_text('{"mIoU": "high"}')
    for given in (tmp_path, tmp_path / 'test.json'):
        with pytest.raises(UserError, match='knows no mIoU'):
            figure('--control', str(given), 'mIoU')


def test_options_of_the_report(tmp_path):
    assert read_references(None, [], ['a', 'b'], 'mIoU') == References(None, {})
    assert read_references('80', ['70'], ['a', 'b'], 'mIoU') == References(80.0, dict(a=70.0, b=70.0))
    (tmp_path / 'test.json').write_text('{"mIoU": 70.5}')
    given = [f'b={tmp_path / "test.json"}', 'a=60']
    assert read_references(None, given, ['a', 'b'], 'mIoU') == References(None, dict(a=60.0, b=70.5))


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ('c=70', 'the run has no model c, but a, b$'),
        ('=70', 'the run has no model , but a, b$'),
        ('a=x', 'x: is neither'),
    ],
)
def test_control_of_nothing(given, message):
    with pytest.raises(UserError, match=f'^--control .*{message}'):
        read_references(None, [given], ['a', 'b'], 'mIoU')


def test_chosen_checkpoint_of_a_run_of_mmdmt(tmp_path):
    """Its record counts, not the last validation."""
    for name, score in (('00_train_a', 40.0), ('01_train_a', 50.0)):
        log = tmp_path / name / '20260101_000000/vis_data/scalars.json'
        log.parent.mkdir(parents=True)
        log.write_text(json.dumps(dict(mIoU=score - 5)))
        (tmp_path / name / 'phase.json').write_text(json.dumps(dict(metrics=dict(mIoU=score))))
    assert figure('--control', str(tmp_path), 'mIoU') == 50.0


def test_path_with_an_equals_sign(tmp_path):
    path = tmp_path / 'lr=0.1.json'
    path.write_text('{"mIoU": 70.5}')
    assert read_references(None, [str(path)], ['a'], 'mIoU').controls == dict(a=70.5)

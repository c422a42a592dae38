import json
import shutil

import pytest

from mmdmt.analysis.run_record import RunRecord
from mmdmt.errors import MissingFileError
from tests.analysis.conftest import CLASS_IOU, CLASSES, SCORES

NAMES = ['00_train_a', '00_train_b', '01_label_a', '01_train_b', '01_label_b', '01_train_a']


def test_a_complete_run(made_run):
    record = RunRecord.read(made_run())
    assert [phase.name for phase in record.phases] == NAMES
    assert record.complete
    assert (record.metric, record.classes, record.models, record.single) == ('mIoU', CLASSES, ['a', 'b'], False)
    assert {phase.name: record.score(phase) for phase in record.trains} == SCORES
    assert record.scores('a') == {0: 50.0, 1: 49.0}
    assert record.class_figures(record.trains[0]) == CLASS_IOU['00_train_a']
    assert record.setting('data_root') == 'data/camvid'
    assert record.setting('none') is None


def test_logs_are_read_by_step_and_half_a_line_is_left_out(made_run):
    record = RunRecord.read(made_run())
    lines = record.scalars(record.trains[0])
    assert [line['step'] for line in lines] == [1, 2, 3, 4, 4]
    assert [line.get('loss') for line in lines] == [1, 0.5, pytest.approx(1 / 3), None, 0.25]


def test_config_is_that_of_now(made_run):
    work_dir = made_run()
    path = work_dir / 'dmt.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'now': {'data_root': "'elsewhere'"}}))
    record = RunRecord.read(work_dir)
    assert (record.setting('data_root'), record.setting('dmt.metric')) == ('elsewhere', None)
    path.write_text(json.dumps({**json.loads(path.read_text()), 'now': 3}))
    assert RunRecord.read(work_dir).setting('data_root') == 'data/camvid'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'now': {}, 'config': 3}))
    assert RunRecord.read(work_dir).config == {}


def test_a_later_attempt_replaces_an_earlier_one(made_run):
    """From its first step on: one that starts again may be shorter, or log other steps."""
    work_dir = made_run()
    log = work_dir / '00_train_a/20260102_000000/vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text(json.dumps(dict(loss=7.0, step=3)) + '\n')
    record = RunRecord.read(work_dir)
    assert [line.get('loss') for line in record.scalars(record.trains[0])] == [1, 0.5, 7.0]
    log.write_text(json.dumps(dict(mIoU=7.0, step=2)) + '\n')  # a resumed one validates first
    assert [(line['step'], line.get('loss')) for line in record.scalars(record.trains[0])] == [
        (1, 1), (2, None), (2, 0.5)
    ]  # fmt: skip


def test_steps_beyond_a_complete_phase_are_of_an_abandoned_attempt(made_run):
    work_dir = made_run()
    path = work_dir / '00_train_a/phase.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'steps': 2}))
    record = RunRecord.read(work_dir)
    assert [line['step'] for line in record.scalars(record.trains[0])] == [1, 2]


@pytest.mark.parametrize('content', [None, '', '{', '[]', '{"plan": 3}', '{"plan": [{"kind": 1}]}', '{"plan": [null]}'])
def test_without_a_plan_the_folders_tell_the_phases(made_run, content):
    work_dir = made_run()
    (work_dir / 'dmt.json').unlink()
    if content is not None:
        (work_dir / 'dmt.json').write_text(content)
    record = RunRecord.read(work_dir)
    assert [(phase.name, phase.kind, phase.iteration, phase.model) for phase in record.phases] == [
        (name, name[3:8], int(name[:2]), name[-1]) for name in sorted(NAMES)
    ]
    assert record.scores('b') == {0: 52.0, 1: 55.5}


def test_what_is_damaged_is_left_out(made_run):
    work_dir = made_run()
    (work_dir / 'run_notes.json').write_text('nothing')
    (work_dir / '00_train_a/phase.json').write_text('{"metrics"')
    (work_dir / '01_train_a/phase.json').write_text('{"phase": "01_train_a", "metrics": {"mIoU": NaN}}')
    shutil.rmtree(work_dir / '01_label_a')
    record = RunRecord.read(work_dir)
    assert not record.complete
    assert record.scores('a') == {}
    assert record.notes == {}
    assert record.classes == ['0', '1', '2']  # of 01_label_b
    assert record.label_info(record.labels[0]) == {}
    assert record.disk_bytes(record.labels[0]) == 0


def test_metric_that_nothing_tells(made_run):
    work_dir = made_run()
    for name in ('dmt.json', 'run_notes.json'):
        (work_dir / name).unlink()
    for path in work_dir.glob('*_train_*/phase.json'):
        path.write_text(json.dumps(dict(metrics={'accuracy/top1': 3.0})))
    assert RunRecord.read(work_dir).metric == 'accuracy/top1'


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(MissingFileError, match='holds no DMT run'):
        RunRecord.read(tmp_path)

import json
import shutil

from mmdmt.analysis import sections
from mmdmt.analysis.document import Chart
from mmdmt.analysis.label_facts import read_labels
from mmdmt.analysis.references import References
from mmdmt.analysis.run_record import RunRecord
from mmdmt.core.schedule import plan
from mmdmt.files import write_json


def rows(section):
    return [row for part in section.parts for row in (part.table if isinstance(part, Chart) else part).rows]


def test_result(made_run):
    section = sections.result(RunRecord.read(made_run()), [], References(60.0, dict(b=51.0)))
    assert section.parts[0].rows == [
        ['Baseline', '50.00', '52.00'], ['DMT', '49.00', '55.50'], ['Difference', '-1.00', '+3.50'],
        ['Labels only, as many steps', '-', '51.00'], ['Oracle', '60.00', '60.00'],
    ]  # fmt: skip
    assert section.parts[1].table.rows == [
        ['a', '0', '50.00'], ['a', '1', '49.00'], ['b', '0', '52.00'], ['b', '1', '55.50'],
    ]  # fmt: skip
    assert 'Oracle' in section.parts[1].svg


def test_phases(made_run):
    work_dir = made_run()
    (work_dir / '01_train_a/phase.json').unlink()
    shutil.rmtree(work_dir / '01_label_b')
    record = RunRecord.read(work_dir)
    labels = {'01_label_a': read_labels(record, record.labels[0])}
    section = sections.plan(record, labels)
    (table,) = section.parts
    assert section.text == ['4 of 6 phases are complete; they took 0:03:02.']
    cells = {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    assert cells['00_train_a']['state'] == 'complete'
    assert cells['01_train_b'] | dict(disk='') == dict(
        phase='01_train_b', student='b', teacher='a', labeled='7', coverage='0.5000', mIoU='55.50', steps='4',
        images='', time='0:01:00', disk='', state='complete', **{'label ratio': '0.5'},
    )  # fmt: skip
    assert (cells['01_label_b']['state'], cells['01_train_a']['state']) == ('to do', 'begun')


def test_phase_that_was_taken_over(made_run):
    work_dir = made_run()
    (work_dir / '00_train_a/phase.json').write_text(json.dumps(dict(taken_over='base.pth')))
    assert 'Not trained here: 00_train_a uses base.pth.' in sections.plan(RunRecord.read(work_dir), {}).text


def test_classes(made_run):
    section = sections.classes(RunRecord.read(made_run()))
    (chart,) = section.parts  # model b has no IoU by class
    assert chart.table.header == ['class', '00_train_a', '01_train_a', 'change']
    assert chart.table.rows == [
        ['sky', '90.00', '91.00', '+1.00'], ['road', '60.00', '56.00', '-4.00'], ['pole', '10.00', '0.50', '-9.50'],
    ]  # fmt: skip


def test_classes_of_one_phase_are_a_table(made_run):
    work_dir = made_run()
    (work_dir / '01_train_a/phase.json').unlink()
    (table,) = sections.classes(RunRecord.read(work_dir)).parts
    assert table.rows[0] == ['sky', '90.00']


def test_training_draws_no_weights_for_baselines(made_run):
    section = sections.training(RunRecord.read(made_run()))
    found = {chart.caption: [row[0] for row in chart.table.rows] for chart in section.parts}
    own = ['01_train_b', '01_train_a']
    assert found['Loss.'] == ['00_train_a', '00_train_b', *own]
    assert found['Mean weight of the labels.'] == own
    assert found['Student and teacher disagree, share of the labels.'] == own
    assert len(found) == 3
    loss = section.parts[-1].table.rows[0]
    assert loss == ['00_train_a', '1', '0.25']


def test_long_logs_are_averaged():
    lines = []
    sections._extend(lines, 'model a', [(step, float(step % 2)) for step in range(1000)], 'red')
    (line,) = lines
    assert len(line.x) == sections.POINTS
    assert line.x[0] == 2.0
    assert set(line.y) == {0.4, 0.6}


def test_single_stage(tmp_path):
    phases = plan('single', ['a'], ())
    for phase, score in zip(phases, (40.0, 45.0), strict=True):
        folder = tmp_path / phase.name
        (folder / '1/vis_data').mkdir(parents=True)
        (folder / 'phase.json').write_text(json.dumps(dict(metrics=dict(mIoU=score))))
        lines = [dict(loss=1.0, sure=0.5, step=1, mIoU=41.0), dict(mIoU=43.0, step=5), dict(mIoU=score, step=9)]
        (folder / '1/vis_data/scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    record = RunRecord(tmp_path, phases, {}, {})
    section = sections.result(record, [], References())
    assert [row[0] for row in section.parts[0].rows] == ['Baseline', 'Method', 'Difference']
    assert section.parts[1].table.rows[1:] == [['a', '5', '43.00'], ['a', '9', '45.00']]
    captions = [chart.caption for chart in sections.training(record).parts]
    assert 'Sure.' in captions


def test_settings(made_run):
    section = sections.settings(RunRecord.read(made_run(seed=3)))
    found = dict(section.parts[0].rows)
    assert found['command'] == 'train.py x.py'
    assert (found['seed'], found['gamma'], found['label ratios']) == ('3', 'model a: gamma1=5.0', '0.5')
    assert found['scheme'] == 'mutual'


def test_settings_tell_changed_configs(made_run):
    work_dir = made_run()
    write_json(work_dir / '01_label_a/inputs.json', dict(run={'dmt.metric': "'mIoU'", 'x': '1'}, inputs={}))
    text = '\n'.join(sections.settings(RunRecord.read(work_dir)).text)
    assert 'Phase 01_label_a began with a changed config: ' in text
    assert 'x: absent -> 1' in text


def test_nothing_but_folders_is_known(tmp_path):
    (tmp_path / '00_train_a').mkdir()
    record = RunRecord.read(tmp_path)
    assert sections.classes(record) is None
    assert sections.training(record) is None
    assert sections.plan(record, {}).parts[0].rows == [['00_train_a', 'a', '0.0 MiB', 'begun']]
    assert sections.result(record, [], References()).parts[0].rows == [['Baseline', '-']]
    assert dict(sections.settings(record).parts[0].rows) == dict(config='config.py', scheme='single')

import json

import pytest

from mmdmt.analysis import verdict as verdict_module
from mmdmt.analysis.label_facts import LabelFacts
from mmdmt.analysis.references import References
from mmdmt.analysis.run_record import RunRecord
from mmdmt.analysis.verdict import equal, labeled_counts, mean_weight, measured_on, verdict


def said(work_dir, labels=(), **references):
    return '\n'.join(verdict(RunRecord.read(work_dir), labels, References(**references)))


def score(work_dir, **scores):
    for name, value in scores.items():
        path = work_dir / name.removeprefix('p') / 'phase.json'
        path.write_text(json.dumps({**json.loads(path.read_text()), 'metrics': dict(mIoU=value)}))


def test_result(made_run):
    text = said(made_run(), oracle=62.0)
    assert text.startswith('Best: model b, mIoU 55.50 on the validation set, in best.pth.\n')
    assert 'Model a: 49.00 after iteration 1, baseline 50.00 (-1.00), Oracle 62.00: -8 % of the gap is closed.' in text
    assert 'Model b: 55.50 after iteration 1, baseline 52.00 (+3.50), Oracle 62.00: 35 % of the gap is closed.' in text
    assert 'No clear difference' in text


@pytest.mark.parametrize(
    ('controls', 'words'),
    [
        (dict(a=53, b=59.5), 'It is better than as many steps with labels only: the pseudo labels did it.'),
        (dict(a=56, b=61), 'As many steps with labels only are better'),
        (dict(a=53, b=59.9), r'It does not clearly differ from .* labels only (within 0.3, or not for all models)'),
        (dict(a=53, b=61), 'It does not clearly differ from'),
    ],
)
def test_meaning_beside_controls(made_run, controls, words):
    work_dir = made_run()
    score(work_dir, p01_train_a=55, p01_train_b=60)
    text = said(work_dir, controls=controls, oracle=65.0)
    assert 'Whether the pseudo labels or only the further steps' not in text
    assert 'The result is better than the baseline.' in text
    assert all(part in text for part in words.split(' .* '))
    only = f'{controls["a"]:.2f} ({55 - controls["a"]:+.2f})'
    assert f'Model a: 55.00 after iteration 1, baseline 50.00 (+5.00), labels only {only}, Oracle' in text


@pytest.mark.parametrize(
    ('first', 'second', 'words'),
    [
        (55, 60, 'The result is better than the baseline.'),
        (40, 41, 'did not help'),
        (50.2, 52.2, 'No clear difference'),
    ],
)
def test_meaning(made_run, first, second, words):
    work_dir = made_run()
    score(work_dir, p01_train_a=first, p01_train_b=second)
    assert words in said(work_dir)


def test_unfinished(made_run):
    work_dir = made_run()
    (work_dir / '01_label_b/phase.json').unlink()
    (work_dir / '01_train_a/phase.json').unlink()
    text = said(work_dir)
    assert text.startswith('4 of 6 phases are complete; the next one is 01_label_b. --resume continues the run.')
    assert 'Model a' not in text


def test_no_validation(made_run):
    work_dir = made_run()
    for path in work_dir.glob('*_train_*/phase.json'):
        path.write_text(json.dumps(dict(metrics={})))
    assert said(work_dir).startswith('Result: model b, without a figure, in best.pth.')


def test_lost_class(made_run):
    text = said(made_run())
    assert 'Model a has lost pole: IoU below 1, but not after the baseline.' in text


def facts(record, phase=0, **changes):
    return LabelFacts(
        record.labels[phase], **{**dict(by_class=[90, 10, 0], kept=[45, 5, 0], bins=[1.0] + [0] * 8), **changes}
    )


def test_class_without_labels(made_run):
    work_dir = made_run()
    text = said(work_dir, [facts(RunRecord.read(work_dir))])
    assert 'The labels of 01_label_a hardly contain pole, though the labeled images do' in text
    assert 'road' not in text


def test_accuracy_and_coverage_of_labels(made_run):
    work_dir = made_run()
    record = RunRecord.read(work_dir)
    first = facts(record, true_all=[(10, 5)], true_kept=[(5, 5)])
    last = facts(record, 1, true_all=[(10, 7)], true_kept=[(5, 4)], kept=[9, 1, 0])
    text = said(work_dir, [first, last])
    assert 'Of all labels, 50.0 % are right in 01_label_a and 70.0 % in 01_label_b: the teachers improve.' in text
    assert 'Of those used in 01_label_b, 80.0 % are right.' in text
    assert '01_label_b: far fewer labels are kept than dmt.label_ratios asks for.' in text
    assert 'the teachers do not improve' in said(work_dir, [last, first])


def test_weights_near_zero(made_run):
    work_dir = made_run()
    log = next((work_dir / '01_train_a').glob('*/vis_data/scalars.json'))
    log.write_text(json.dumps(dict(loss=1, mean_weight=0.001, step=3)))
    record = RunRecord.read(work_dir)
    assert mean_weight(record, record.trains[-1]) == 0.001
    assert mean_weight(record, record.trains[-2]) == 0.5
    assert '01_train_a: the mean weight of the labels is 0.001' in said(work_dir)


def test_where_it_is_measured(made_run):
    work_dir = made_run()
    record = RunRecord.read(work_dir)
    assert measured_on(record) == 'the validation set'
    record.notes['select'] = 'holdout'
    assert measured_on(record) == 'the held-out labeled images'
    assert labeled_counts(record) == [50, 40, 10]
    del record.notes['class_counts']
    assert labeled_counts(record) is None


@pytest.mark.parametrize(('middle', 'said'), [(49.0, ''), (50.2, ', which is within'), (51.0, '; a figure')])
def test_better_iteration_before_the_last(middle, said):
    found = verdict_module._better_before({0: 40.0, 1: middle, 2: 50.0}, 2, 0.3)
    assert found.startswith(f' It was better after iteration 1 ({middle:.2f}){said}' if said else '')
    assert bool(found) == bool(said)


def test_noise_of_few_tested_images(made_run):
    record = RunRecord.read(made_run())
    record.notes['class_counts']['val'] = [100, 100]
    assert equal(record) == 0.3  # of pixels
    record.notes['task'] = 'table'
    assert equal(record) == pytest.approx(3.5355, abs=1e-4)
    record.notes['class_counts']['val'] = [10**6]
    assert equal(record) == 0.3

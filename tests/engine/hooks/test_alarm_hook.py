import json
from types import SimpleNamespace

import pytest
import torch

from mmdmt.engine.hooks.alarm_hook import AlarmHook

CLASSES = ['road', 'car', 'pole']
HUMAN = [50, 40, 10]


@pytest.fixture
def labeled(tmp_path):
    """``labeled(kept, human, before)``: warnings of a label phase whose next phase uses so many labels by class."""

    def run(kept, human=HUMAN, before=None, **info):
        (tmp_path / 'labels.json').write_text(json.dumps({'pixels_by_class': kept, 'kept_by_class': kept, **info}))
        return ended(AlarmHook('01_label_a', CLASSES, human, before))

    def ended(hook):
        lines = []
        hook.after_test_epoch(SimpleNamespace(work_dir=str(tmp_path), logger=SimpleNamespace(warning=lines.append)))
        return lines

    run.ended = ended
    return run


def test_class_without_labels(labeled):
    assert labeled([600, 400, 0]) == [
        '01_label_a: the used labels hardly contain pole 0 % instead of 10 % of the labeled images. The next phase '
        'hardly learns what it sees so rarely. More labeled images of this, a longer dmt.supervised, or smaller '
        'dmt.label_ratios may help'
    ]


def test_class_with_fewer_labels_than_before(labeled):
    (line,) = labeled([600, 391, 9], before=[500, 400, 100])
    assert 'pole 0.9 % instead of 10 % of the labels of the iteration before' in line


@pytest.mark.parametrize(
    ('kept', 'human', 'before'),
    [
        ([50, 40, 10], HUMAN, HUMAN),
        ([600, 391, 9], HUMAN, None),
        ([600, 391, 9], None, None),
        ([600, 400, 0], [60, 40, 0], None),
    ],
    ids=['as before', 'rare', 'nothing to compare with', 'humans show none'],
)
def test_no_alarm(labeled, kept, human, before):
    assert labeled(kept, human, before) == []


def test_both_kinds_are_one_line(labeled):
    (line,) = labeled([1000, 5, 0], before=HUMAN)
    assert 'pole 0 % instead of 10 % of the labeled images' in line


def test_teacher_of_one_class_has_its_own_warning(labeled):
    assert labeled([1000, 0, 0]) == []


def test_many_classes(tmp_path):
    number = 8
    (tmp_path / 'labels.json').write_text(json.dumps(dict(images_by_class=[5, 5], kept_by_class=[5, 5] + [0] * 6)))
    lines = []
    runner = SimpleNamespace(work_dir=str(tmp_path), logger=SimpleNamespace(warning=lines.append))
    AlarmHook('x', list('abcdefgh'), [1] * number).after_test_epoch(runner)
    assert 'c 0 % instead of 12 %' in lines[0]
    assert 'and 1 more classes' in lines[0]


def test_labels_of_an_earlier_version(labeled, tmp_path):
    (tmp_path / 'labels.json').write_text(json.dumps(dict(pixels_by_class=[1, 0])))
    assert labeled.ended(AlarmHook('x', CLASSES, HUMAN)) == []


def trained(weights, steps, name='decode.mean_weight', first=0, weighs=True):
    hook, lines = AlarmHook('03_train_a', CLASSES, weighs=weighs), []
    logger = SimpleNamespace(warning=lambda line: lines.append((runner.iter + 1, line)))
    runner = SimpleNamespace(max_iters=steps, logger=logger)
    for step in range(first, steps):
        runner.iter = step
        outputs = {name: torch.tensor(weights(step)), 'loss': torch.tensor(1.0)}
        hook.after_train_iter(runner, step, outputs=outputs)
    return lines


def test_weights_that_collapse():
    ((step, line),) = trained(lambda step: 0.5 if step < 120 else 0.01, 200)
    assert step == 140  # windows of 20 steps
    assert line == (
        '03_train_a: the mean weight of its pseudo labels over the last 20 steps is 0.01, so they teach next to '
        'nothing. A smaller gamma1 or gamma2 (docs/loss.md) raises it'
    )


@pytest.mark.parametrize(
    'weights',
    [lambda step: 0.0 if step < 40 else 0.1, lambda step: 0.03, lambda step: 0.0 if step % 2 else 0.1],
    ids=['new model', 'low', 'now and then'],
)
def test_weights_that_are_low_but_teach(weights):
    assert trained(weights, 200) == []


def test_what_a_resumed_phase_has_not_seen_is_not_judged():
    assert [step for step, _ in trained(lambda step: 0.0, 200, first=110)] == [140]


def test_phases_without_weights():
    assert trained(lambda step: 0.0, 200, name='loss_unsup') == []
    assert trained(lambda step: 0.0, 200, weighs=False) == []

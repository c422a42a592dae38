import math

import pytest

from mmdmt.experiments.table import LabelAccuracy, mean_iou, render_labels, render_split


def metrics(miou, accuracy=90.0, **classes):
    return {'mIoU': miou, 'aAcc': accuracy, **{f'IoU/{name}': value for name, value in classes.items()}}


SCORES = {
    ('baseline', 'a'): {0: metrics(40.0, road=80.0, car=0.0), 1: metrics(44.0, road=84.0, car=4.0)},
    ('baseline', 'b'): {0: metrics(50.0)},
    ('dmt', 'a'): {0: metrics(46.0, 92.0, road=90.0), 1: metrics(43.0, 93.0, road=88.0, car=10.0)},
    ('dmt', 'b'): {0: metrics(48.0)},
    ('new', 'c'): {0: metrics(1.0)},
    ('oracle', '-'): {0: metrics(60.0), 1: metrics(56.0)},
}


def test_render_split():
    # A: means 42 and 44.5 of 58: closed 2.5 / 16. Its differences are 6 and -1: mean 2.5, deviation 7 / sqrt(2).
    assert (
        render_split(SCORES, 'mIoU', ('sky', 'car', 'road'), ('road', 'car'))
        == """\
| method   | model | seeds | mIoU       | mIoU of 2 classes | aAcc       | gap closed | difference | by seed   |
| -------- | ----- | ----- | ---------- | ----------------- | ---------- | ---------- | ---------- | --------- |
| baseline | a     | 0 1   | 42.0 ± 2.8 | 42.0 ± 2.8        | 90.0 ± 0.0 |            |            |           |
| baseline | b     | 0     | 50.0       | -                 | 90.0       |            |            |           |
| dmt      | a     | 0 1   | 44.5 ± 2.1 | 69.5 ± 29.0       | 92.5 ± 0.7 | 0.16       | +2.5 ± 4.9 | +6.0 -1.0 |
| dmt      | b     | 0     | 48.0       | -                 | 90.0       | -0.20      | -2.0       | -2.0      |
| new      | c     | 0     | 1.0        | -                 | 90.0       |            |            |           |
| oracle   | -     | 0 1   | 58.0 ± 2.8 | -                 | 90.0 ± 0.0 |            |            |           |

The 2 classes: road, car.

| IoU      | model | car  | road |
| -------- | ----- | ---- | ---- |
| baseline | a     | 2.0  | 82.0 |
| baseline | b     | -    | -    |
| dmt      | a     | 10.0 | 89.0 |
| dmt      | b     | -    | -    |
| new      | c     | -    | -    |
| oracle   | -     | -    | -    |"""
    )


def test_an_oracle_of_each_model_goes_before_the_common_one():
    scores = {**SCORES, ('oracle', 'b'): {0: metrics(54.0)}}
    row = render_split(scores, 'mIoU').splitlines()[5]
    assert row.startswith('| dmt      | b ')
    assert '| -0.50 ' in row


def test_classification_has_no_classes():
    scores = {('baseline', 'model'): {0: {'accuracy/top1': 90.0, 'accuracy/fine_grained': 70.0}}}
    text = render_split(scores, 'accuracy/top1')
    assert text.count('\n') == 2
    assert '| 90.0          | 70.0                  |' in text


def test_mean_iou_of_some_classes():
    found = metrics(0.0, road=80.0, car=10.0, sky=99.0)
    assert mean_iou(found, ['road', 'car']) == 45.0
    assert mean_iou(found, ['road', 'absent']) == 80.0
    assert math.isnan(mean_iou(found, ['absent']))
    assert mean_iou(found, ['sky', 'car', 'road']) == pytest.approx(63.0)


def test_render_labels():
    labels = {
        ('dmt', 'a'): {0: LabelAccuracy({1: 90.0, 2: 80.0}, {0.5: 85.0, 1.0: 80.0}),
                       1: LabelAccuracy({1: 92.0, 2: math.nan}, {0.5: 87.0, 1.0: math.nan})},
        ('short', 'b'): {0: LabelAccuracy({1: 70.0}, {0.25: 70.0})},
    }  # fmt: skip
    assert (
        render_labels(labels, 40).split('\n\n', 1)[1]
        == """\
| method | teacher | iteration 1 | iteration 2 |
| ------ | ------- | ----------- | ----------- |
| dmt    | a       | 91.0 ± 1.4  | 80.0        |
| short  | b       | 70.0        | -           |

| method | teacher | 25 % | 50 %       | 100 % |
| ------ | ------- | ---- | ---------- | ----- |
| dmt    | a       | -    | 86.0 ± 1.4 | 80.0  |
| short  | b       | 70.0 | -          | -     |"""
    )

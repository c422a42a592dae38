import math

import pytest

from mmdmt.analysis.report import render_analysis

NAN = math.nan
FIRST = dict(
    teacher='a', label_ratio=0.5, accuracy=0.9, accuracy_all=0.7, accuracy_by_ratio=[0.9, 0.7],
    mean_weight=dict(right=0.6, wrong=0.1234), auc={'weight': 0.81, 'confidence': 0.82, 'weight * confidence': 0.83,
                                                    'p_B': 0.84},
    class_weight_mass=[0.5, 0.25], class_accuracy=[1.0, 0.125],
    error_by_confidence=[(0.1 * number, 0.01 * number) for number in range(9)],
    cases={'agreement': dict(share=0.5, teacher_right=0.9, student_right=0.8),
           'teacher wins': dict(share=0.3, teacher_right=0.6, student_right=0.4),
           'student wins': dict(share=0.2, teacher_right=0.1, student_right=0.7)},
)  # fmt: skip
# No pixel of a class, of a bin and of a case was found, and no label was wrong.
SECOND = dict(
    FIRST, teacher='b', label_ratio=1.0, accuracy=1.0, accuracy_all=1.0, accuracy_by_ratio=[NAN, 1.0],
    mean_weight=dict(right=0.5, wrong=NAN), auc=dict.fromkeys(FIRST['auc'], NAN),
    class_weight_mass=[0.5, NAN], class_accuracy=[1.0, NAN], error_by_confidence=[(0.0, NAN)] * 8 + [(1.0, 0.0)],
    cases=dict(FIRST['cases'], **{'teacher wins': dict(share=0.0, teacher_right=NAN, student_right=NAN)}),
)  # fmt: skip

TABLES = [
    """\
| phase      | teacher | ratio | accuracy | of all labels | w right | w wrong | AUC w | AUC c | AUC w c | AUC p_B |
| ---------- | ------- | ----- | -------- | ------------- | ------- | ------- | ----- | ----- | ------- | ------- |
| 01_train_b | a       | 0.5   | 90.0     | 70.0          | 0.600   | 0.123   | 0.810 | 0.820 | 0.830   | 0.840   |
| 02_train_a | b       | 1     | 100.0    | 100.0         | 0.500   | -       | -     | -     | -       | -       |""",
    """\
| phase      | 50 % | 100 % |
| ---------- | ---- | ----- |
| 01_train_b | 90.0 | 70.0  |
| 02_train_a | -    | 100.0 |""",
    """\
| class | 01_train_b    | 02_train_a    |
| ----- | ------------- | ------------- |
| sky   | 0.500 (100.0) | 0.500 (100.0) |
| 1     | 0.250 (12.5)  | - (-)         |""",
    """\
| confidence | 01_train_b | 02_train_a  |
| ---------- | ---------- | ----------- |
| 0-0.5      | 0.0 (0.0)  | - (0.0)     |
| 0.5-0.6    | 1.0 (10.0) | - (0.0)     |
| 0.6-0.7    | 2.0 (20.0) | - (0.0)     |
| 0.7-0.8    | 3.0 (30.0) | - (0.0)     |
| 0.8-0.9    | 4.0 (40.0) | - (0.0)     |
| 0.9-0.95   | 5.0 (50.0) | - (0.0)     |
| 0.95-0.99  | 6.0 (60.0) | - (0.0)     |
| 0.99-0.999 | 7.0 (70.0) | - (0.0)     |
| 0.999-1    | 8.0 (80.0) | 0.0 (100.0) |""",
    """\
| phase      | agreement          | teacher wins       | student wins       |
| ---------- | ------------------ | ------------------ | ------------------ |
| 01_train_b | 50.0 / 90.0 / 80.0 | 30.0 / 60.0 / 40.0 | 20.0 / 10.0 / 70.0 |
| 02_train_a | 50.0 / 90.0 / 80.0 | 0.0 / - / -        | 20.0 / 10.0 / 70.0 |""",
]


@pytest.fixture
def text():
    phases = {'01_train_b': FIRST, '02_train_a': SECOND}
    # Names of classes may be numbers, where the data set has none.
    return render_analysis(dict(images=3, label_ratios=[0.5, 1.0], classes=['sky', 1], phases=phases))


def test_tables(text):
    assert [part for part in text.split('\n\n') if part.startswith('|')] == [*TABLES[:-1], TABLES[-1] + '\n']


def test_headings_say_what_a_table_is_of(text):
    assert text.startswith('# Analysis\n\n3 unlabeled images, without augmentation; ')
    assert [line for line in text.splitlines() if line.startswith('## ')] == [
        '## Labels and weights', '## Accuracy by label ratio', '## Kept weight mass by class', '## Error by confidence',
        '## Cases of the dynamic loss',
    ]  # fmt: skip

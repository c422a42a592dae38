import math

import pytest

from mmdmt.experiments.paper_table import EXPLANATION, Column, render_paper, with_better
from mmdmt.experiments.plan import Published


def column(rows, metric='mIoU', split='val'):
    scores = {row: {seed: {metric: value} for seed, value in values.items()} for row, values in rows.items()}
    return Column(scores, metric, split)


ORACLE = {0: 74.0, 1: 75.0, 2: 76.0}
VOC = column(
    {
        ('baseline', 'a'): {0: 60.0, 1: 62.0, 2: 64.0},
        ('dmt', 'a'): {0: 70.0, 1: 70.5, 2: 71.3},
        ('dmt', 'b'): {0: 69.0, 1: 71.5, 2: 70.0},
        ('oracle', '-'): ORACLE,
    }
)
# One seed of a method, and an Oracle of that seed and of another one.
SMALL = column({('baseline', 'a'): {1: 50.0}, ('oracle', '-'): {1: 60.0, 2: 70.0}}, 'accuracy/top1', 'test')
PUBLISHED = Published.read(
    dict(
        source='Table 4',
        rows=dict(dmt=dict(values=dict(voc=69.92), oracle=74.75), other=dict(values=dict(small=57.2)),
                  oracle=dict(values=dict(voc=74.75), oracle=74.75)),
    ), ''
)  # fmt: skip


def test_mean_deviation_and_gap_by_hand():
    """Baseline: 62 of deviations -2, 0, 2: sqrt(8 / 2) = 2; 62 - 75 = -13.

    DMT, A: (70 + 70.5 + 71.3) / 3 = 70.6, deviations -0.6, -0.1, 0.7: sqrt(0.86 / 2) = 0.656. B: 70.1667, deviations
    -1.1667, 1.3333, -0.1667: sqrt(3.1667 / 2) = 1.258. Better of both: 70, 71.5, 71.3: 70.9333, deviations -0.9333,
    0.5667, 0.3667: sqrt(1.3267 / 2) = 0.814.
    """
    assert (
        render_paper({'voc': VOC, 'small': SMALL}, PUBLISHED)
        == f"""\
| method   | model       | voc (mIoU, val)       | small (accuracy/top1, test) |
| -------- | ----------- | --------------------- | --------------------------- |
| baseline | a           | 62.00 ± 2.00 (-13.00) | 50.00 (-10.00)              |
| dmt      | a           | 70.60 ± 0.66 (-4.40)  | -                           |
| dmt      | b           | 70.17 ± 1.26 (-4.83)  | -                           |
| dmt      | better      | 70.93 ± 0.81 (-4.07)  | -                           |
| oracle   | -           | 75.00 ± 1.00          | 65.00 ± 7.07                |
| dmt      | *published* | 69.92 (-4.83)         | -                           |
| other    | *published* | -                     | 57.20                       |
| oracle   | *published* | 74.75                 | -                           |

{EXPLANATION}

Rows marked *published* are figures of the publication (Table 4), not measured here; the gap is to the publication's \
Oracle of the same network.

The same by seed:

| data set | method   | model  | seed 0         | seed 1         | seed 2         |
| -------- | -------- | ------ | -------------- | -------------- | -------------- |
| voc      | baseline | a      | 60.00 (-14.00) | 62.00 (-13.00) | 64.00 (-12.00) |
| voc      | dmt      | a      | 70.00 (-4.00)  | 70.50 (-4.50)  | 71.30 (-4.70)  |
| voc      | dmt      | b      | 69.00 (-5.00)  | 71.50 (-3.50)  | 70.00 (-6.00)  |
| voc      | dmt      | better | 70.00 (-4.00)  | 71.50 (-3.50)  | 71.30 (-4.70)  |
| voc      | oracle   | -      | 74.00          | 75.00          | 76.00          |
| small    | baseline | a      | -              | 50.00 (-10.00) | -              |
| small    | oracle   | -      | -              | 60.00          | 70.00          |"""
    )


def test_published_figures_are_shown_only_on_request():
    text = render_paper({'voc': VOC})
    assert 'published' not in text and '69.92' not in text


def test_gap_is_of_common_seeds_and_of_the_oracle_of_the_model():
    """Seed 1 is common: 63 - 70; without a common seed there is no gap."""
    rows = {('dmt', 'a'): {0: 99.0, 1: 63.0}, ('new', 'b'): {5: 60.0}}
    oracles = {('oracle', 'a'): {1: 70.0}, ('oracle', '-'): {1: 80.0}}
    first, second = render_paper({'voc': column({**rows, **oracles})}).splitlines()[2:4]
    assert '| 81.00 ± 25.46 (-7.00) |' in first
    assert first.startswith('| dmt ') and second.startswith('| new ')
    assert '| 60.00                 |' in second


def test_better_model_of_each_seed():
    values = {('dmt', 'a'): {0: 1.0, 1: 4.0}, ('dmt', 'b'): {0: 2.0, 1: 3.0, 2: 9.0}, ('cbst', 'a'): {0: 5.0}}
    found = with_better(values)
    assert list(found) == [('dmt', 'a'), ('dmt', 'b'), ('dmt', 'better'), ('cbst', 'a')]
    assert found['dmt', 'better'] == {0: 2.0, 1: 4.0}
    assert list(with_better({('baseline', 'a'): {0: 1.0}, ('baseline', 'b'): {0: 2.0}})) == [
        ('baseline', 'a'), ('baseline', 'b')
    ]  # fmt: skip


@pytest.mark.parametrize('value', [math.nan])
def test_a_figure_that_is_no_number_is_left_out(value):
    assert '| 62.00 ' in render_paper({'voc': column({('baseline', 'a'): {0: 62.0, 1: value}})})

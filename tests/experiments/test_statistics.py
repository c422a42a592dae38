import math

import pytest

from mmdmt.experiments.statistics import gap_closure, paired_differences, summarise


def test_mean_and_sample_deviation():
    # Deviations -2, 0, 2: (4 + 0 + 4) / (3 - 1) = 4.
    assert summarise([40.0, 42.0, 44.0]) == (42.0, 2.0, 3)
    mean, deviation, count = summarise([1.0, 2.0])
    assert (mean, count) == (1.5, 2)
    assert deviation == pytest.approx(math.sqrt(0.5))


def test_few_values():
    mean, deviation, count = summarise([7.0])
    assert (mean, count) == (7.0, 1)
    assert math.isnan(deviation)
    mean, deviation, count = summarise([])
    assert math.isnan(mean) and math.isnan(deviation)
    assert count == 0


def test_values_that_are_no_number_are_left_out():
    assert summarise([math.nan, 40.0, 42.0, math.nan, 44.0]) == (42.0, 2.0, 3)


def test_paired_differences_of_common_seeds():
    assert paired_differences({2: 5.0, 0: 3.0, 7: 1.0}, {0: 4.0, 2: 2.5, 9: 0.0}) == {0: -1.0, 2: 2.5}
    assert list(paired_differences({2: 5.0, 0: 3.0}, {2: 1.0, 0: 1.0})) == [0, 2]


BASELINE, ORACLE = {0: 40.0, 1: 44.0}, {0: 50.0, 1: 54.0}


@pytest.mark.parametrize(
    ('method', 'closed'),
    [
        ({0: 45.0, 1: 49.0}, 0.5),
        ({0: 40.0, 1: 49.0}, 0.25),  # means 44.5, 42, 52
        (BASELINE, 0.0),
        (ORACLE, 1.0),
        ({0: 38.0, 1: 44.0}, -0.1),
        ({1: 49.0}, 0.5),  # the seed that all have
        ({1: 49.0, 5: 99.0}, 0.5),
    ],
)
def test_gap_closure(method, closed):
    assert gap_closure(method, BASELINE, ORACLE) == pytest.approx(closed)


@pytest.mark.parametrize(
    ('method', 'oracle'), [({5: 45.0}, ORACLE), ({0: 45.0}, {}), (ORACLE, BASELINE), ({0: 45.0}, {0: 39.0})]
)
def test_no_gap(method, oracle):
    """No common seed, or an Oracle that is not above the baseline."""
    assert math.isnan(gap_closure(method, BASELINE, oracle))

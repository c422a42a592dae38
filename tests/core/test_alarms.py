import pytest

from mmdmt.core.alarms import LOST, SHRUNK, lost_classes

HUMAN = [5000, 4000, 1000]  # 50, 40 and 10 %


@pytest.mark.parametrize(
    ('labels', 'least', 'lost'),
    [
        ([50, 40, 10], LOST, []),
        ([500, 400, 1], LOST, []),  # 0.11 %: a ninetieth of its share
        ([6000, 3995, 9], LOST, [2]),  # 0.09 %
        ([6000, 4000, 0], LOST, [2]),
        ([950, 41, 9], SHRUNK, [2]),  # 4.1 % of 40 % is more than a tenth, 0.9 % of 10 % is less
        ([0, 0, 0], LOST, [0, 1, 2]),
    ],
)
def test_lost_classes(labels, least, lost):
    assert lost_classes(labels, HUMAN, least) == lost


def test_a_class_that_the_reference_lacks_is_not_lost():
    assert lost_classes([10, 0, 0], [5, 5, 0], LOST) == [1]
    assert lost_classes([10, 0], [0, 0], LOST) == []


def test_numbers_of_classes_may_differ():
    """Counts of pixels may hold the ignored ones, too."""
    assert lost_classes([10, 0], [5, 5, 90], LOST) == [1]

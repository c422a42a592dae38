import math

import pytest

from mmdmt.methods.arguments import RANGES, in_range
from tests.methods.conftest import STOCK

EXPECTED = {
    'in [0, 1]': [0, 0.5, 1],
    'in [0, 1)': [0, 0.5],
    'above 0 and at most 1': [0.5, 1],
    'above 0 and below 1': [0.5],
    'at least 0': [0, 0.5, 1, 2],
    'above 0': [0.5, 1, 2],
}


@pytest.mark.parametrize('name', RANGES)
def test_ranges(name):
    values = [-0.1, 0, 0.5, 1, 2, math.inf, -math.inf, math.nan, '0.5', True, None, [0.5]]
    assert [value for value in values if in_range(value, name)] == EXPECTED[name]


@pytest.mark.parametrize(
    ('name', 'task', 'argument'),
    [
        ('FixMatch', 'pixels', dict(threshold='0.95')),
        ('FixMatch', 'images', dict(unlabeled_weight=math.inf)),
        ('MeanTeacher', 'pixels', dict(teacher_momentum='0.9')),
        ('MeanTeacher', 'pixels', dict(ramp=None)),
        ('CrossPseudo', 'images', dict(gamma1='2')),
        ('CrossPseudo', 'pixels', dict(gamma2=-1.0)),
        ('CCT', 'pixels', dict(decoders=dict(dropout='2'))),
        ('OnlineST', 'pixels', dict(threshold=math.nan)),
        ('MixMatch', 'images', dict(alpha=[0.75])),
    ],
)
def test_what_is_no_number_of_the_range_is_named(build, name, task, argument):
    ((key, value),) = argument.items()
    with pytest.raises(ValueError) as error:
        build(name, STOCK[task], **argument)
    assert str(error.value).startswith(f'{name}: {key}={value!r} must be ')

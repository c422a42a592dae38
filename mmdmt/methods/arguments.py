"""Ranges of the numbers that methods take as arguments."""

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

RANGES: Mapping[str, Callable[[float], bool]] = {
    'in [0, 1]': lambda value: 0 <= value <= 1,
    'in [0, 1)': lambda value: 0 <= value < 1,
    'above 0 and at most 1': lambda value: 0 < value <= 1,
    'above 0 and below 1': lambda value: 0 < value < 1,
    'at least 0': lambda value: 0 <= value < math.inf,
    'above 0': lambda value: 0 < value < math.inf,
}


def in_range(value: Any, name: str) -> bool:
    """Whether a value is a finite number of a range in ``RANGES``.

    Example:
        >>> [in_range(value, 'above 0 and at most 1') for value in (0, 0.5, 1, 2, '1', True, None)]
        [False, True, True, False, False, False, False]
    """
    return isinstance(value, Real) and not isinstance(value, bool) and RANGES[name](float(value))

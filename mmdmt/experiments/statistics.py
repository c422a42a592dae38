"""Compares methods over seeds: means, spreads, paired differences and the closed share of the gap to an Oracle."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Summary(NamedTuple):
    """Mean and sample deviation (n - 1 in the denominator) of ``number`` values.

    The mean of no value and the deviation of fewer than two are NaN.
    """

    mean: float
    deviation: float
    number: int


def summarise(values: Iterable[float]) -> Summary:
    """Mean and deviation of the values that are numbers; NaN is ignored and not counted."""
    found = [value for value in values if not math.isnan(value)]
    number = len(found)
    mean = math.fsum(found) / number if number else math.nan
    if number < 2:
        return Summary(mean, math.nan, number)
    return Summary(mean, math.sqrt(math.fsum((value - mean) ** 2 for value in found) / (number - 1)), number)


def paired_differences(method: Mapping[int, float], reference: Mapping[int, float]) -> dict[int, float]:
    """Seed -> value of the method minus that of the reference, ascending, for the seeds that both have."""
    return {seed: method[seed] - reference[seed] for seed in sorted(method.keys() & reference.keys())}


def gap_closure(method: Mapping[int, float], baseline: Mapping[int, float], oracle: Mapping[int, float]) -> float:
    """Share of the gap between baseline and Oracle that a method closes: (method - baseline) / (Oracle - baseline).

    Args:
        method: Seed -> value; ``baseline`` and ``oracle`` likewise. Means over the seeds that all three have are
            compared, since the gap of one seed alone can be near zero.

    Returns:
        0 for the baseline, 1 for the Oracle, negative for a loss; NaN without a common seed, or if the Oracle is not
        above the baseline: there is no gap then.
    """
    seeds = sorted(method.keys() & baseline.keys() & oracle.keys())
    means = [summarise(values[seed] for seed in seeds).mean for values in (method, baseline, oracle)]
    gap = means[2] - means[1]
    return (means[0] - means[1]) / gap if gap > 0 else math.nan

import pytest

from mmdmt.engine.time_left import TimeLeft


@pytest.mark.parametrize(
    ('left', 'rate', 'expected'),
    [
        # An image costs a third of a fourth of a step.
        (TimeLeft('supervised', dict(semi=20, label=24), batch_size=4), 3.0, 20 * 3 + 24 * 3 / 12),
        (TimeLeft('semi', dict(semi=2, label=24), dict(label=0.5)), 3.0, 2 * 3 + 24 * 0.5),
        (TimeLeft('label', dict(semi=10), dict(semi=2.0)), 0.4, 20.0),
        (TimeLeft('label', dict(label=10), dict(label=9.0)), 0.5, 5.0),  # what is measured now holds
        (TimeLeft('semi', dict(supervised=5, semi=1), dict(supervised=2.0)), 4.0, 5 * 2 + 4),
        (TimeLeft('label', dict(semi=10)), 1.0, 0.0),  # nothing is known
        (TimeLeft('semi'), 1.0, 0.0),
    ],
)
def test_time_after_a_phase(left, rate, expected):
    assert left.after(rate) == pytest.approx(expected)

"""Estimates how long a run still takes, from what was measured so far."""

from collections.abc import Mapping
from dataclasses import dataclass, field

LABELING = 1 / 3
"""Time to label an image, as a share of its part of a training step: a step also goes back through the network."""


@dataclass(frozen=True)
class TimeLeft:
    """The work after a phase, and how long it took before.

    Work is counted in steps (kinds ``supervised`` and ``semi``) or images (kind ``label``).

    ``kind``: kind of the running phase.
    ``later``: kind -> steps or images of all later phases.
    ``seconds``: kind -> seconds of a step or an image in earlier phases or in the rehearsal, as far as known.
    ``batch_size``: images of a training step.
    """

    kind: str
    later: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    batch_size: int = 1

    def after(self, rate: float) -> float:
        """Seconds of all later phases, if a step or an image of the running one takes ``rate`` seconds."""
        known = {**self.seconds, self.kind: rate}
        step = known.get('semi', known.get('supervised', 0.0))
        guess = dict(supervised=step, semi=step, label=step * LABELING / self.batch_size)
        return sum(number * known.get(kind, guess[kind]) for kind, number in self.later.items())

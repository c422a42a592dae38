"""A hook that shows the result of each validation or test."""

from collections.abc import Mapping
from numbers import Real

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdmt.engine.screen import Screen


class ResultHook(Hook):
    """Print the metrics of an ordinary config in one line; the phases of a plan have lines of their own.

    Args:
        screen: What the user looks at.
    """

    priority = 'VERY_LOW'

    def __init__(self, screen: Screen) -> None:
        self.screen, self._place = screen, ''

    def before_train(self, runner: Runner) -> None:
        """Name the step in the lines from now on."""
        self._place = 'step {runner.iter} of {runner.max_iters}: '

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        """Print the metrics of a validation."""
        self.screen.say(self._place.format(runner=runner) + as_line(metrics or {}))

    def after_test_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        """Print the metrics of a test."""
        self.screen.say(as_line(metrics or {}))


def as_line(metrics: Mapping[str, float]) -> str:
    """Metrics as mmengine logs them.

    >>> as_line({'aAcc': 65.56, 'mIoU': 7.2812345})
    'aAcc: 65.5600  mIoU: 7.2812'
    """
    return '  '.join(f'{name}: {value}' if isinstance(value, int) or not isinstance(value, Real)
                     else f'{name}: {value:.4f}' for name, value in metrics.items())  # fmt: skip

"""A hook that makes what a step draws depend on its position only."""

from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmdmt.randomness import position_seed, seed_generators


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Seed all global generators before each step, by (seed, step, rank).

    Dropout and mixup of a resumed run then draw what an undisturbed one would have drawn. A random transform draws by
    the position of its image, see :class:`~mmdmt.datasets.SeededDataset`.

    Args:
        seed: Seed of the phase.
    """

    priority = 'VERY_HIGH'

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the generators for the coming step."""
        seed_generators(position_seed(self.seed, 'step', runner.iter, get_rank()))

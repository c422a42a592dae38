"""A dataset whose random transforms depend on the position in a run only."""

from collections.abc import Sequence
from typing import Any

from mmengine.registry import DATASETS

from mmdmt.randomness import host_generators_kept, position_seed, seed_host


class Drawn(int):
    """Index of an image, with the number of the pass over its dataset that draws it (from 0)."""

    turn: int

    def __new__(cls, index: int, turn: int) -> 'Drawn':
        """Make an index."""
        result = super().__new__(cls, index)
        result.turn = turn
        return result

    def __reduce__(self) -> tuple:
        return Drawn, (int(self), self.turn)


@DATASETS.register_module()
class SeededDataset:
    """Loads each image of a dataset with generators seeded by (seed, pass, index).

    What a random transform draws depends neither on the worker that loads the image nor on the images loaded before,
    so a resumed run draws the same. The number of the pass comes with the index, see :class:`Drawn`; without it, it
    is 0.

    Args:
        dataset: Config (or instance) of the dataset.
        seed: Seed of the phase.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.seed = seed

    def __getattr__(self, name: str) -> Any:
        """Attributes of the dataset itself, such as ``metainfo`` and the parts of a concatenation."""
        if name == 'dataset' or name.startswith('__'):  # not set yet, while a worker unpickles this object
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Load the images of a batch; PyTorch's data loader calls it."""
        with host_generators_kept():
            return [self._load(index) for index in indices]

    def _load(self, index: int) -> Any:
        seed_host(position_seed(self.seed, getattr(index, 'turn', 0), int(index)))
        return self.dataset[int(index)]

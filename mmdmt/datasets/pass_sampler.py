"""The sampler of phases on labeled images, and the base of that with pseudo labels."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import Sampler

from mmdmt.datasets.seeded_dataset import Drawn
from mmdmt.randomness import position_seed


@DATA_SAMPLERS.register_module()
class PassSampler(Sampler):
    """Yields endless passes over a dataset, each in another order.

    The order of a pass depends on its number and the seed only, so a resumed run continues with the image that it would
    have seen. The ranks take turns.

    Args:
        dataset: The dataset.
        seed: Must be the same in all processes. Default: drawn, and shared with all processes.
    """

    def __init__(self, dataset: Any, seed: int | None = None) -> None:
        self._start((len(dataset),), (1,), seed)

    def _start(self, sizes: tuple[int, ...], per_batch: tuple[int, ...], seed: int | None) -> None:
        """Sizes of the parts of the dataset, and indices of each part in a batch of this process."""
        self.rank, self.world_size = get_dist_info()
        self.sizes, self.per_batch = sizes, per_batch
        self.seed = sync_random_seed() if seed is None else seed
        self._first = 0
        self._permutation = lru_cache(maxsize=4)(self._draw)

    def _draw(self, part: int, turn: int) -> list[int]:
        generator = torch.Generator().manual_seed(position_seed(self.seed, 'order', part, turn))
        return torch.randperm(self.sizes[part], generator=generator).tolist()

    def _batch(self, number: int) -> list[Drawn]:
        indices = []
        for part, count in enumerate(self.per_batch):
            before = sum(self.sizes[:part])
            start = (number * self.world_size + self.rank) * count
            for position in range(start, start + count):
                turn, place = divmod(position, self.sizes[part])
                indices.append(Drawn(self._permutation(part, turn)[place] + before, turn))
        return indices

    def __iter__(self) -> Iterator[Drawn]:
        number, skipped = divmod(self._first, sum(self.per_batch))
        yield from self._batch(number)[skipped:]
        while True:
            number += 1
            yield from self._batch(number)

    def skip(self, num_samples: int) -> None:
        """Start after the first ``num_samples`` indices of this process; mmengine resumes with it."""
        if num_samples < 0:
            raise ValueError(f'num_samples must not be negative, got {num_samples}')
        self._first = num_samples

    def set_epoch(self, epoch: int) -> None:
        """Start after ``epoch * len(self)`` indices; this is pass ``epoch`` if each pass ends with a batch."""
        self._first = epoch * len(self)

    def __len__(self) -> int:
        """Return the number of indices of this process in one pass over the last part of the dataset."""
        batches = -(-self.sizes[-1] // (self.per_batch[-1] * self.world_size))
        return batches * sum(self.per_batch)

"""The sampler of phases with pseudo labels."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import Sampler


@DATA_SAMPLERS.register_module()
class LabeledUnlabeledSampler(Sampler):
    """Yields endless batches with a fixed number of labeled and of unlabeled images.

    An epoch is one pass over the unlabeled images; the labeled ones cycle. Each set is reshuffled when it is used up.
    Batch number ``b`` depends on ``b``, the rank and the seed only, so a resumed run continues with the batch that it
    would have seen.

    Args:
        dataset: A ``ConcatDataset`` of two datasets, the labeled one first.
        labeled: Labeled images in the batch of each process, at least 1.
        unlabeled: Unlabeled images in the batch of each process, at least 1. The data loader's ``batch_size`` must
            be ``labeled + unlabeled``.
        seed: Must be the same in all processes. Default: drawn, and shared with all processes.

    Raises:
        ValueError: if ``dataset`` does not concatenate two non-empty datasets, or a number is below 1.
    """

    def __init__(self, dataset: Any, labeled: int, unlabeled: int, seed: int | None = None) -> None:
        parts = getattr(dataset, 'datasets', ())
        if len(parts) != 2 or not all(len(part) for part in parts):
            raise ValueError(
                'LabeledUnlabeledSampler needs a ConcatDataset of a labeled and an unlabeled dataset, both non-empty; '
                f'got {type(dataset).__name__} of lengths {[len(part) for part in parts]}'
            )
        if min(labeled, unlabeled) < 1:
            raise ValueError(f'labeled={labeled} and unlabeled={unlabeled} images per batch must both be at least 1')
        self.rank, self.world_size = get_dist_info()
        self.sizes = tuple(len(part) for part in parts)
        self.per_batch = (labeled, unlabeled)
        self.seed = sync_random_seed() if seed is None else seed
        self._first = 0
        self._permutation = lru_cache(maxsize=4)(self._draw)

    def _draw(self, part: int, epoch: int) -> list[int]:
        generator = torch.Generator().manual_seed((self.seed * 2 + part) * 1_000_003 + epoch)
        return torch.randperm(self.sizes[part], generator=generator).tolist()

    def _batch(self, number: int) -> list[int]:
        indices = []
        for part, count in enumerate(self.per_batch):
            start = (number * self.world_size + self.rank) * count
            for position in range(start, start + count):
                epoch, place = divmod(position, self.sizes[part])
                indices.append(self._permutation(part, epoch)[place] + part * self.sizes[0])
        return indices

    def __iter__(self) -> Iterator[int]:
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
        """Return the number of indices of this process in one pass over the unlabeled images."""
        batches = -(-self.sizes[1] // (self.per_batch[1] * self.world_size))
        return batches * sum(self.per_batch)

"""The sampler of label phases."""

import logging
from collections.abc import Iterator
from typing import Any

from mmengine.dist import broadcast_object_list, get_dist_info, is_main_process
from mmengine.logging import print_log
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import Sampler

from mmdmt.labels.store import LabelStore
from mmdmt.labels.stores import STORES


def _clean(labels: LabelStore, strange: set[str]) -> None:
    """Drop the labels of other images, and say which were lost."""
    if strange and not labels.complete:
        labels.forget(strange)
    lost = sorted(labels.lost())
    if lost:
        text = f'{labels.root}: labels of {len(lost)} images are missing or damaged, e.g. {lost[0]}; they are made anew'
        print_log(text, 'current', logging.WARNING)


@DATA_SAMPLERS.register_module()
class UnfinishedSampler(Sampler):
    """Yields the images that a label store lacks, in order, each on exactly one process.

    Args:
        dataset: An ``UnlabeledDataset``.
        label_dir: Folder of the label store.
        store: Name of the store: ``maps`` (segmentation) or ``table`` (classification).
        seed: Not used; mmengine passes one to every sampler.
    """

    def __init__(self, dataset: Any, label_dir: str, store: str = 'maps', seed: int | None = None) -> None:
        labels = STORES[store](label_dir)
        done, names = labels.names(), [dataset.name(idx) for idx in range(len(dataset))]
        if is_main_process():
            _clean(labels, done.difference(names))
        indices = [idx for idx, name in enumerate(names) if name not in done]
        # One process may write labels while another still builds its loader, so all use the list of the first one.
        shared = [indices]
        broadcast_object_list(shared)
        rank, world_size = get_dist_info()
        self.indices = shared[0][rank::world_size]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)

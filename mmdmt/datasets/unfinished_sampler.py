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


def _unfinished(labels: LabelStore, dataset: Any, batch_size: int) -> list[list[int]]:
    """Clean a store, and list the batches that it lacks."""
    names, done, whole = [dataset.name(idx) for idx in range(len(dataset))], labels.names(), range(len(dataset))
    if not labels.complete:
        done -= _clean(labels, done.difference(names))
    batches = [whole[start : start + batch_size] for start in range(0, len(dataset), batch_size)]
    return [list(batch) for batch in batches if any(names[idx] not in done for idx in batch)]


def _clean(labels: LabelStore, strange: set[str]) -> set[str]:
    """Drop the labels of other images and damaged ones; say and return which were lost."""
    if strange:
        labels.forget(strange)
    lost = labels.lost()
    if lost:
        labels.forget(lost)  # what is written later may take their place
        text = f'labels of {len(lost)} images are missing or damaged, e.g. {min(lost)}; they are made anew'
        print_log(f'{labels.root}: {text}', 'current', logging.WARNING)
    return lost


@DATA_SAMPLERS.register_module()
class UnfinishedSampler(Sampler):
    """Yields the batches of images that a label store lacks, in order, each on exactly one process.

    The images of a batch are always the same, whatever the store already holds and however many processes there are,
    since the last bits of a prediction may depend on the batch. A batch that is only partly labeled is labeled again.

    Args:
        dataset: An ``UnlabeledDataset``.
        label_dir: Folder of the label store.
        store: Name of the store: ``maps`` (segmentation) or ``table`` (classification).
        batch_size: Batch size of the data loader.
        seed: Not used; mmengine passes one to every sampler.
    """

    def __init__(
        self, dataset: Any, label_dir: str, store: str = 'maps', batch_size: int = 1, seed: int | None = None
    ) -> None:
        labels = STORES[store](label_dir)
        # One process may write labels while another still builds its loader, so all use the list of the first one.
        shared = [_unfinished(labels, dataset, batch_size) if is_main_process() else []]
        broadcast_object_list(shared)
        rank, world_size = get_dist_info()
        self.indices = [idx for batch in shared[0][rank::world_size] for idx in batch]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)

"""A few images of a dataset."""

from collections.abc import Sequence
from typing import Any

from mmengine.registry import DATASETS


@DATASETS.register_module()
class SomeImages:
    """A few images of any dataset, in a given order.

    Args:
        dataset: Config (or instance) of the dataset.
        indices: Which of its images; those that it does not have are left out.
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.dataset.full_init()
        self.indices = [idx for idx in indices if idx < len(self.dataset)]

    @property
    def metainfo(self) -> dict:
        """Meta information of the whole dataset."""
        return self.dataset.metainfo

    @property
    def pipeline(self) -> Any:
        """Transforms of the whole dataset; None if it has none of its own."""
        return getattr(self.dataset, 'pipeline', None)

    def full_init(self) -> None:
        """Do nothing: the dataset is initialized at once."""

    def __len__(self) -> int:
        return len(self.indices)

    def get_data_info(self, idx: int) -> dict:
        """Data information of image number ``idx`` of the few."""
        return self.dataset.get_data_info(self.indices[idx])

    def __getitem__(self, idx: int) -> Any:
        return self.dataset[self.indices[idx]]

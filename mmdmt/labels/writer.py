"""Base of the metrics that write pseudo labels."""

import logging
from abc import abstractmethod
from collections.abc import Sequence

from mmengine.dist import barrier
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from mmdmt.errors import DivergedError
from mmdmt.labels.store import LabelStore

ONE_CLASS = 0.9999
"""Share of the labels above which a teacher counts as one that knows a single class."""


class LabelWriter(BaseMetric):
    """Write the predictions of a test run as pseudo labels, each image once; at the end, complete the store.

    Args:
        label_dir: Folder of the label store.
        label_ratio: Share of the labels that the next phase uses, for the statistics.
        teacher: Name of the model that predicts, for messages. None accepts predictions that are not finite.
        collect_device: See ``BaseMetric``.
        prefix: See ``BaseMetric``.
    """

    default_prefix = 'pseudo_label'

    def __init__(
        self,
        label_dir: str,
        label_ratio: float,
        teacher: str | None = 'the teacher',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.label_dir = label_dir
        self.label_ratio = label_ratio
        self.teacher = teacher

    @property
    @abstractmethod
    def store(self) -> LabelStore:
        """The label store."""

    @abstractmethod
    def complete(self) -> dict[str, float]:
        """Mark the store complete and return statistics of it; all processes call this once all images are stored."""

    def stop(self) -> None:
        """End what goes on beside the prediction, after an error too."""

    def warn_of_one_class(self, counts: Sequence[int]) -> None:
        """Warn of a teacher that knows one class only, from the number of its labels of each class.

        A later phase would learn nothing else; it has not begun yet.
        """
        total: int = sum(counts)
        if len(counts) > 1 and total and max(counts) >= ONE_CLASS * total:
            index = max(range(len(counts)), key=counts.__getitem__)
            name = ((self.dataset_meta or {}).get('classes') or range(len(counts)))[index]
            print_log(
                f'{self.label_dir}: the teacher labels {100 * counts[index] / total:.4g} % as {name!r}, so the '
                'next phase learns hardly any other. Its training has probably failed: stop the run and look at its '
                'learning rate, its length and the labels of its images',
                logger='current',
                level=logging.WARNING,
            )

    def check_finite(self, prediction: Tensor, img_path: str) -> Tensor:
        """Refuse a prediction that is not finite; without a ``teacher``, return it with finite values in place.

        Raises:
            DivergedError: names the teacher and the image.
        """
        # The sum of finite values may overflow, but no other sum is finite, and it takes a tenth of the time.
        if prediction.sum().isfinite() or prediction.isfinite().all():
            return prediction
        if self.teacher is not None:
            raise DivergedError(
                f'{self.label_dir}: {self.teacher} predicts values that are not finite for {img_path}: its training '
                'has diverged. Delete the folder of its phase, lower the learning rate, and --resume'
            )
        return prediction.nan_to_num()

    def compute_metrics(self, results: list) -> dict:
        """Return nothing: :meth:`evaluate` needs no results of single images."""
        return {}

    def evaluate(self, size: int) -> dict:
        """Complete the store, once all processes have written their images.

        Args:
            size: Number of images to label.

        Returns:
            ``pseudo_label/images`` and the statistics of the store, ``pseudo_label/coverage`` among them.

        Raises:
            RuntimeError: if the store does not hold ``size`` images.
        """
        barrier()
        found = len(self.store.names())
        if found != size:
            raise RuntimeError(f'{self.label_dir} must hold labels of {size} images, got labels of {found}')
        barrier()  # no process may complete the store while another still counts
        figures = self.complete()
        barrier()
        return {f'{self.prefix}/{name}': value for name, value in (*figures.items(), ('images', size))}

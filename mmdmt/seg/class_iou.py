"""The stock IoU metric, extended by the IoU of each class."""

from typing import Any

from mmengine.logging import MessageHub
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS


@METRICS.register_module()
class ClassIoUMetric(IoUMetric):
    """``IoUMetric`` that also returns ``IoU/CLASS`` of each class, in percent, which the stock metric only prints.

    A class that is neither in the labels nor predicted has no IoU and no key; ``mIoU`` excludes it too.

    Args:
        quiet: Return the stock metrics only, and keep the others for the record of the phase: ``class_iou`` of the
            current message hub, class -> IoU.
        args, kwargs: Arguments of ``IoUMetric``.
    """

    def __init__(self, *args: Any, quiet: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.quiet = quiet

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute the metrics of ``IoUMetric`` and those of the classes.

        Args:
            results: For each image, four tensors float [C]: intersection, union, predicted and labeled pixels by class.
        """
        metrics = super().compute_metrics(results)
        intersect, union = (sum(result[part] for result in results) for part in (0, 1))
        found = {
            str(name): round(100 * float(inside / together), 2)
            for name, inside, together in zip(self.dataset_meta['classes'], intersect, union, strict=True)
            if together > 0
        }
        if self.quiet:
            MessageHub.get_current_instance().update_info('class_iou', found, resumed=False)
            return metrics
        return {**metrics, **{f'IoU/{name}': value for name, value in found.items()}}

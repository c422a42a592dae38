"""The stock IoU metric, with the IoU of each class among its results."""

from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS


@METRICS.register_module()
class ClassIoUMetric(IoUMetric):
    """``IoUMetric`` that also returns what the stock one only prints: ``IoU/CLASS``, in percent, of each class.

    A class that is neither in the labels nor predicted has no IoU and no key; ``mIoU`` leaves it out as well.
    """

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Metrics of ``IoUMetric`` and those of the classes.

        Args:
            results: Of each image, float [C] each: intersection, union, predicted and labeled pixels by class.
        """
        metrics = super().compute_metrics(results)
        intersect, union = (sum(result[part] for result in results) for part in (0, 1))
        for name, inside, together in zip(self.dataset_meta['classes'], intersect, union, strict=True):
            if together > 0:
                metrics[f'IoU/{name}'] = round(100 * float(inside / together), 2)
        return metrics

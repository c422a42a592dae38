"""The stock accuracy, which also keeps that of each class."""

from typing import Any

import torch
from mmengine.logging import MessageHub
from mmpretrain.evaluation import Accuracy
from mmpretrain.registry import METRICS


@METRICS.register_module()
class ClassAccuracy(Accuracy):
    """``Accuracy`` that also keeps the share of right images of each class, in percent, for the record of a phase.

    It is ``class_accuracy`` of the current message hub, class -> accuracy. A class without images has none. What the
    metric returns is that of ``Accuracy``.
    """

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Compute the metrics of ``Accuracy``, and those of the classes.

        Args:
            results: For each image, ``gt_label`` int64 [1], and ``pred_score`` float [C] or ``pred_label`` int64 [1].
        """
        metrics = super().compute_metrics(results)
        truth = torch.cat([result['gt_label'] for result in results])
        predicted = torch.stack(
            [result['pred_score'].argmax() if 'pred_score' in result else result['pred_label'][0] for result in results]
        )
        number = torch.bincount(truth)
        right = torch.bincount(truth[truth == predicted], minlength=len(number))
        names = self.dataset_meta.get('classes') or range(len(number))
        found = {
            str(name): round(100 * int(hits) / int(images), 2)
            for name, hits, images in zip(names, right, number, strict=False)
            if images > 0
        }
        MessageHub.get_current_instance().update_info('class_accuracy', found, resumed=False)
        return metrics

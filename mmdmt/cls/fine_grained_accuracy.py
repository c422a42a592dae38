"""The fine-grained test metric of DMT's classification experiments."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmpretrain.registry import METRICS
from torch import Tensor


@METRICS.register_module()
class FineGrainedAccuracy(BaseMetric):
    """Accuracy that counts a correct image as the probability of its class, not as 1 (arXiv 2004.08514, App. C).

    It ranks even checkpoints of equal accuracy, as on a small validation set. The key is ``accuracy/fine_grained``, in
    percent. It never exceeds ``accuracy/top1``, and equals it for one-hot scores. Without samples it is NaN.

    Args:
        kwargs: Arguments of ``BaseMetric``.
    """

    default_prefix: str | None = 'accuracy'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store the credit of every sample.

        Args:
            data_batch: Not used.
            data_samples: Predictions with ``pred_score``, probabilities float [C], and ``gt_label``, int64 [1].

        Raises:
            ValueError: if a sample has no ``pred_score``, or not exactly one class in ``gt_label``.
        """
        for data_sample in data_samples:
            if 'pred_score' not in data_sample:
                raise ValueError(
                    'FineGrainedAccuracy: a data sample must have pred_score, the probability of every class; '
                    f'got {sorted(data_sample)}'
                )
            self.results.append(fine_grained_credit(data_sample['pred_score'], data_sample['gt_label']))

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        """Average the credits of all samples, in percent."""
        return {'fine_grained': 100 * torch.tensor(results, dtype=torch.float64).mean().item()}


def fine_grained_credit(pred_score: Tensor, gt_label: Tensor) -> float:
    """Return the probability of the true class if it is the predicted one (``torch.argmax``, also in ties), else 0.

    Args:
        pred_score: Probabilities, float [C].
        gt_label: The true class, int64 [1].

    Raises:
        ValueError: if ``gt_label`` is not exactly one class.
    """
    if gt_label.numel() != 1:
        raise ValueError(f'FineGrainedAccuracy: gt_label must be exactly one class; got {gt_label.tolist()}')
    prediction = int(pred_score.argmax())
    return float(pred_score[prediction]) if prediction == int(gt_label) else 0.0

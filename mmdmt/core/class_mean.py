"""Class-normalised weights: every pseudo class keeps a mean weight of 1, however unsure the student is of it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmdmt.core.dynamic_weight import DynamicWeight

MEAN_MIN = 0.1
"""Means below it count as it, so that no weight is multiplied by more than 10."""


class RunningClassMean:
    """Running mean of the weight of each class, over the pseudo-labeled pixels of the steps so far.

    A class's sum of weights W and number of pixels N each follow ``x = momentum * x + (1 - momentum) * x_of_batch`` in
    batches that have this class; its mean is W / N. The first batch counts already.

    Args:
        momentum: In [0, 1); 0 takes the mean of the batch alone.
        reduce: Adds up a tensor over the processes of a distributed run, in place.
    """

    def __init__(self, momentum: float = 0.99, reduce: Callable[[Tensor], Any] = lambda sums: None) -> None:
        self.momentum, self.reduce = momentum, reduce
        self.sums: Tensor | None = None

    @torch.no_grad()
    def normalise(self, decision: DynamicWeight, num_classes: int) -> DynamicWeight:
        """Take in a batch, and divide its pseudo labels' weights by ``max(mean of their class, 1/10)``.

        The class is the one that is trained on, ``decision.label``.

        Args:
            decision: Of a batch; ignored pixels and those labeled by a human are neither counted nor changed.
            num_classes: The labels of ``decision.pseudo`` are below it.

        Returns:
            The decision, with other weights (float32, in [0, 10]).
        """
        label = torch.where(decision.pseudo, decision.label, 0)
        counted = torch.stack([decision.weight * decision.pseudo, decision.pseudo]).double().flatten(1)
        batch = counted.new_zeros(2, num_classes).index_add_(1, label.flatten(), counted)
        self.reduce(batch)
        before = torch.zeros_like(batch) if self.sums is None else self.sums.to(batch.device)
        self.sums = torch.where(batch[1] > 0, self.momentum * before + (1 - self.momentum) * batch, before)
        mean = (self.sums[0] / torch.where(self.sums[1] > 0, self.sums[1], 1)).clamp(min=MEAN_MIN).float()
        weight = torch.where(decision.pseudo, decision.weight / mean[label], decision.weight)
        return decision._replace(weight=weight)

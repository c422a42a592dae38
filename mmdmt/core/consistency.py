"""Losses and schedules that semi-supervised methods share; soft-max and loss are always computed in float32."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Average = Callable[[Tensor], Tensor]
"""If several processes share a batch: gives the average of a scalar over them."""


def ramp_up(progress: float, length: float) -> float:
    """Raise a weight from ``exp(-5)`` to 1: ``exp(-5 (1 - min(progress, length) / length)**2)``.

    Args:
        progress: position in training, in [0, 1].
        length: share of the training after which the ramp is 1, in [0, 1]; 0 gives 1 at once.

    Example:
        >>> [round(ramp_up(progress, 0.5), 4) for progress in (0, 0.25, 0.5, 1)]
        [0.0067, 0.2865, 1.0, 1.0]
    """
    if length == 0:
        return 1.0
    return math.exp(-5 * (1 - min(progress, length) / length) ** 2)


def warm_momentum(step: Tensor, momentum: float) -> Tensor:
    """Share that an average keeps of itself after step ``step`` (from 0): ``min(1 - 1 / (step + 1), momentum)``.

    The first step copies. Until the limit, the average is the mean of all steps. Steps are int64, and stay on their
    device: a GPU need not be waited for.

    Example:
        >>> warm_momentum(torch.tensor([0, 1, 3, 1000]), 0.99)
        tensor([0.0000, 0.5000, 0.7500, 0.9900])
    """
    return (1 - 1 / (step + 1)).clamp(max=momentum)


def masked_cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor, valid: Tensor | None = None, average: Average | None = None
) -> Tensor:
    """Compute ``sum(weight * CE) / number of valid pixels``; pixels without label count in the divisor.

    Args:
        logits: [N, C, ...], any float dtype.
        target: int64 [N, ...], a class everywhere.
        weight: bool or float [N, ...]: which pixels or images are learned, and how much.
        valid: bool [N, ...]; False where the image is padding. None means everywhere.
        average: if several processes share a batch, gives the average of a scalar over them. Each then divides by the
            average number of valid pixels, so that the mean of their losses is the loss of the whole batch.

    Returns:
        float32 scalar; 0, with a graph, if no pixel is valid.

    Example:
        One of two images is sure; the loss is -log 0.5 / 2.

        >>> logits = torch.tensor([[0.5, 0.5], [0.8, 0.2]]).log()
        >>> round(masked_cross_entropy(logits, torch.tensor([1, 0]), torch.tensor([True, False])).item(), 4)
        0.3466
    """
    loss = F.cross_entropy(logits.float(), target, reduction='none') * weight
    return _mean(loss, valid, average)


def squared_difference(
    first: Tensor, second: Tensor, valid: Tensor | None = None, average: Average | None = None
) -> Tensor:
    """Mean squared difference of [N, C, ...] over images, valid pixels and classes.

    Args:
        first: logits or probabilities.
        second: the same.
        valid: bool [N, ...]; None means everywhere.
        average: see :func:`masked_cross_entropy`.

    Example:
        >>> squared_difference(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]])).item()
        0.5
    """
    return _mean((first.float() - second.float()).square().mean(1), valid, average)


def entropy(probability: Tensor) -> Tensor:
    """Entropy [N, ...] of probabilities [N, C, ...], in nats; 0 log 0 is 0.

    Example:
        >>> entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
        tensor([0.6931, 0.0000])
    """
    return (probability * -probability.clamp(min=torch.finfo(torch.float32).tiny).log()).sum(1)


def jensen_shannon(
    first: Tensor, second: Tensor, valid: Tensor | None = None, average: Average | None = None
) -> Tensor:
    """Jensen-Shannon divergence of probabilities [N, C, ...]: ``H((p + q) / 2) - (H(p) + H(q)) / 2``, as a mean.

    Arguments are those of :func:`squared_difference`.

    Example:
        >>> round(jensen_shannon(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])).item(), 4)
        0.6931
    """
    first, second = first.float(), second.float()
    return _mean(entropy((first + second) / 2) - (entropy(first) + entropy(second)) / 2, valid, average)


def soft_cross_entropy(
    logits: Tensor, target: Tensor, valid: Tensor | None = None, average: Average | None = None
) -> Tensor:
    """Mean of ``-sum_c target_c log p_c`` for logits and target probabilities [N, C, ...].

    The other arguments are those of :func:`squared_difference`.

    Example:
        >>> round(soft_cross_entropy(torch.zeros(1, 2), torch.tensor([[0.3, 0.7]])).item(), 4)
        0.6931
    """
    return _mean(-(target.float() * F.log_softmax(logits.float(), 1)).sum(1), valid, average)


def sharpen(probability: Tensor, temperature: float) -> Tensor:
    """Sharpen probabilities [N, C, ...]: ``p_c**(1/T) / sum`` (arXiv 1905.02249, Eq. 7).

    Example:
        >>> sharpen(torch.tensor([[0.75, 0.25]]), 0.5)
        tensor([[0.9000, 0.1000]])
    """
    powers = probability.float() ** (1 / temperature)
    return powers / powers.sum(1, keepdim=True)


def _mean(values: Tensor, valid: Tensor | None, average: Average | None) -> Tensor:
    if valid is None:  # all processes have equally many
        return values.mean()
    number = valid.sum()
    if average is not None:
        number = average(number)
    return (values * valid).sum() / torch.where(number > 0, number, 1)

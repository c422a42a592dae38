"""The dynamic loss of DMT: cross-entropy scaled by the dynamic weight (arXiv 2004.08514)."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from mmdmt.core.cross_entropy import cross_entropy_from
from mmdmt.core.dynamic_weight import (
    DynamicWeight,
    Variant,
    check_shape,
    check_variant,
    weight_from_log_prob,
)

Reduction = Literal['mean', 'sum', 'none']
REDUCTIONS = ('mean', 'sum', 'none')


def dynamic_mutual_loss(
    logits: Tensor,
    label: Tensor,
    confidence: Tensor | None,
    gamma1: float,
    gamma2: float,
    variant: Variant = 'dmt',
    ignore_index: int = 255,
    class_weight: Tensor | None = None,
    pixel_weight: Tensor | None = None,
    reduction: Reduction = 'mean',
    average: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, DynamicWeight | None]:
    """Compute the cross-entropy ``sum(w * CE) / N`` with dynamic weights w (arXiv 2004.08514, dynamic loss).

    N is the number of valid (not ignored) pixels of the whole batch, human- and pseudo-labeled. N = 0 gives a loss of 0
    that still has a graph (all gradients 0).

    Args:
        logits: student logits [N, C, ...], any float dtype; computed in float32.
        label: int64 [N, ...], class index or ``ignore_index``.
        confidence: float32 [N, ...] as for ``dynamic_weight``; None gives plain cross-entropy.
        gamma1: exponent on agreement, >= 0.
        gamma2: exponent on disagreement, >= 0.
        variant: 'dmt', 'naive' or 'flip'.
        ignore_index: label of pixels without loss.
        class_weight: float [C]; scales each pixel, in N too, by the weight of its training class (as
            ``torch.nn.functional.cross_entropy`` does).
        pixel_weight: float [N, ...]; scales each pixel but not N (for a hard-example sampler).
        reduction: 'mean', 'sum' or 'none'.
        average: if several processes share a batch, gives the average of a scalar over them. The mean divides by the
            average N. The mean of these losses over the processes is then the loss of the whole batch.

    Returns:
        The float32 loss (a scalar, or [N, ...] for 'none') and the ``DynamicWeight`` used (None without confidence).

    Raises:
        ValueError: as ``dynamic_weight``; also an unknown reduction, or weights of the wrong shape.

    Example:
        A human labeled the first image; student and teacher agree on the second one. The loss is
        (1 * -log 0.5 + 0.8**2 * -log 0.8) / 2.

        >>> logits = torch.tensor([[0.5, 0.5], [0.8, 0.2]]).log()
        >>> loss, decision = dynamic_mutual_loss(logits, torch.tensor([0, 0]), torch.tensor([2.0, 0.7]), 2, 2)
        >>> round(loss.item(), 4), decision.pseudo.tolist()
        (0.418, [False, True])
    """
    check_variant(gamma1, gamma2, variant)
    check_shape('label', label, logits)
    _check_weights(logits, class_weight, pixel_weight)
    _check_reduction(reduction)
    log_prob = F.log_softmax(logits.detach(), dim=1, dtype=torch.float32)
    loss = cross_entropy_from(log_prob, logits, label, ignore_index)
    valid = label != ignore_index
    weight, decision = valid.float(), None
    if confidence is not None:
        own = -loss.detach()
        decision = weight_from_log_prob(log_prob, label, confidence, gamma1, gamma2, variant, ignore_index, own)
        weight = decision.weight
        if variant == 'flip':
            label = decision.label
            loss = cross_entropy_from(log_prob, logits, label, ignore_index)
    denominator = valid
    if class_weight is not None:
        factor = class_weight.float()[torch.where(valid, label, 0)]
        weight, denominator = weight * factor, denominator * factor
    if pixel_weight is not None:
        weight = weight * pixel_weight.float()
    # A class of probability 0 has infinite cross-entropy. The limit of p ** gamma * -log p is 0, but 0 * inf is NaN.
    loss = torch.where(weight != 0, weight * loss, 0)
    return _reduce(loss, denominator, reduction, average), decision


def _reduce(
    loss: Tensor, denominator: Tensor, reduction: Reduction, average: Callable[[Tensor], Tensor] | None
) -> Tensor:
    if reduction == 'none':
        return loss
    if reduction == 'sum':
        return loss.sum()
    total = denominator.sum()
    if average is not None:
        total = average(total)
    return loss.sum() / torch.where(total > 0, total, 1)


def _check_weights(logits: Tensor, class_weight: Tensor | None, pixel_weight: Tensor | None) -> None:
    if class_weight is not None and tuple(class_weight.shape) != (logits.shape[1],):
        raise ValueError(f'class_weight must have shape [{logits.shape[1]}]; got {list(class_weight.shape)}')
    if pixel_weight is not None:
        check_shape('pixel_weight', pixel_weight, logits)


def _check_reduction(reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(f'reduction must be one of {REDUCTIONS}; got {reduction!r}')

"""The dynamic loss of DMT: cross-entropy scaled by the dynamic weight (arXiv 2004.08514)."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from mmdmt.core.class_mean import RunningClassMean
from mmdmt.core.dynamic_weight import (
    DynamicWeight,
    Gamma,
    Variant,
    check_shape,
    check_variant,
    gather_class,
    weight_from_log_prob,
    without_class_weight,
)

REDUCTIONS = ('mean', 'sum', 'none')
NORMALISERS = ('valid', 'weighted')
CLASS_WEIGHTS_OF = ('all', 'human')

Reduction = Literal['mean', 'sum', 'none']
Normaliser = Literal['valid', 'weighted']
ClassWeightOf = Literal['all', 'human']


def dynamic_mutual_loss(
    logits: Tensor,
    label: Tensor,
    confidence: Tensor | None,
    gamma1: Gamma,
    gamma2: Gamma,
    variant: Variant = 'dmt',
    ignore_index: int = 255,
    class_weight: Tensor | None = None,
    pixel_weight: Tensor | None = None,
    reduction: Reduction = 'mean',
    threshold: float = 0.9,
    confidence_power: float = 0.0,
    class_mean: RunningClassMean | None = None,
    normaliser: Normaliser = 'valid',
    class_weight_of: ClassWeightOf = 'all',
    prior_corrected: bool = False,
) -> tuple[Tensor, DynamicWeight | None]:
    """Dynamically weighted cross-entropy ``sum(w * CE) / N`` (arXiv 2004.08514, dynamic loss), and the weights it used.

    N is the number of valid (not ignored) pixels of the whole batch, human- and pseudo-labeled together, or with
    ``normaliser='weighted'`` the sum of their w. N = 0 gives a loss of 0 that still has a graph (all gradients 0).

    Args:
        logits: student logits [N, C, ...], any float dtype; computed in float32.
        label: int64 [N, ...], class index or ``ignore_index``.
        confidence: float32 [N, ...] as for ``dynamic_weight``; None is plain cross-entropy.
        gamma1: exponent on agreement, >= 0; a number, or float [C].
        gamma2: exponent on disagreement, >= 0; a number, or float [C].
        variant: 'dmt', 'naive', 'flip' or 'online'.
        ignore_index: label of pixels without loss.
        class_weight: float [C]; scales each pixel by the weight of the class it is trained on, and in N as well (as in
            ``torch.nn.functional.cross_entropy``).
        pixel_weight: float [N, ...]; scales each pixel and leaves N alone (a hard-example sampler).
        reduction: 'mean', 'sum' or 'none'.
        threshold: of variant 'online'.
        confidence_power: as for ``dynamic_weight``.
        class_mean: takes in the weights of the batch and divides those of each pseudo class by their running mean.
        normaliser: what N is, 'valid' or 'weighted'.
        class_weight_of: 'human' leaves pseudo labels their own weight, whatever their class; 'all' scales them too.
        prior_corrected: take the student's probabilities for the weights without ``class_weight``
            (:func:`without_class_weight`).

    Returns:
        The float32 loss, a scalar or [N, ...] for 'none', and the ``DynamicWeight`` (None without confidence).

    Raises:
        ValueError: as ``dynamic_weight``; also an unknown reduction or normaliser, or weights of the wrong shape.
    """
    check_variant(gamma1, gamma2, variant, confidence_power, logits.shape[1])
    check_shape('label', label, logits)
    if pixel_weight is not None:
        check_shape('pixel_weight', pixel_weight, logits)
    _check_loss_arguments(logits, class_weight, reduction, normaliser)
    log_prob = F.log_softmax(logits, dim=1, dtype=torch.float32)
    decision = None
    if confidence is not None:
        judged = log_prob
        if prior_corrected and class_weight is not None:
            judged = F.log_softmax(without_class_weight(log_prob.detach(), class_weight), dim=1)
        decision = weight_from_log_prob(
            judged, label, confidence, gamma1, gamma2, variant, ignore_index, threshold, confidence_power
        )
        if class_mean is not None:
            decision = class_mean.normalise(decision, logits.shape[1])
        label = decision.label
    valid = label != ignore_index
    class_index = torch.where(valid, label, 0)
    weight = valid.float() if decision is None else decision.weight
    denominator = weight if normaliser == 'weighted' else valid
    if class_weight is not None:
        factor = class_weight.float()[class_index]
        if class_weight_of == 'human' and decision is not None:
            factor = torch.where(decision.pseudo, 1, factor)
        weight, denominator = weight * factor, denominator * factor
    if pixel_weight is not None:
        weight = weight * pixel_weight.float()
    # A class of probability 0 has an infinite cross-entropy; p ** gamma * -log p is 0 there, but 0 * inf is NaN.
    loss = torch.where(weight != 0, -weight * gather_class(log_prob, class_index), 0)
    return _reduce(loss, denominator, reduction), decision


def _reduce(loss: Tensor, denominator: Tensor, reduction: Reduction) -> Tensor:
    if reduction == 'none':
        return loss
    if reduction == 'sum':
        return loss.sum()
    total = denominator.sum()
    return loss.sum() / torch.where(total > 0, total, 1)


def _check_loss_arguments(logits: Tensor, class_weight: Tensor | None, reduction: str, normaliser: str) -> None:
    if class_weight is not None and tuple(class_weight.shape) != (logits.shape[1],):
        raise ValueError(f'class_weight must have shape [{logits.shape[1]}]; got {list(class_weight.shape)}')
    for name, value, allowed in (('reduction', reduction, REDUCTIONS), ('normaliser', normaliser, NORMALISERS)):
        if value not in allowed:
            raise ValueError(f'{name} must be one of {allowed}; got {value!r}')

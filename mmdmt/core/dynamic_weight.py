"""The dynamic weight of DMT: pseudo labels count less where student and teacher disagree (arXiv 2004.08514).

Notation of the paper: the teacher's label ``y_A`` has confidence ``c_A``; the student's argmax ``y_B`` has confidence
``c_B``; ``p_B`` is the student's probability of ``y_A``. All of them are detached and computed in float32.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

HUMAN = 2.0
"""Confidence of a human-labeled pixel. It exceeds every probability, so one tensor holds labeler and confidence."""

VARIANTS = ('dmt', 'naive', 'flip')

Variant = Literal['dmt', 'naive', 'flip']


class DynamicWeight(NamedTuple):
    """Weight and training label of every pixel, and who disagreed; all tensors [N, ...], without gradient.

    ``weight`` float32: 1 on human-labeled pixels, 0 on ignored ones. ``label`` int64: as given, unless variant 'flip'
    changes it. ``pseudo`` bool: pixels that no human labeled and that are not ignored. ``disagree`` bool: the part of
    ``pseudo`` where the student prefers another class to the label. ``student_wins`` bool: the part of ``disagree``
    where the student is more confident (``c_A < c_B``).
    """

    weight: Tensor
    label: Tensor
    pseudo: Tensor
    disagree: Tensor
    student_wins: Tensor


def dynamic_weight(
    logits: Tensor,
    label: Tensor,
    confidence: Tensor,
    gamma1: float,
    gamma2: float,
    variant: Variant = 'dmt',
    ignore_index: int = 255,
) -> DynamicWeight:
    """Weight every pixel by the agreement of student and teacher (arXiv 2004.08514, dynamic loss; variants: Tab. 7).

    ======================================  ============  ============  ===================
    case                                    dmt           naive         flip
    ======================================  ============  ============  ===================
    ``y_A = y_B``                           p_B**gamma1   p_B**gamma1   p_B**gamma1
    ``y_A != y_B`` and ``c_A >= c_B``       p_B**gamma2   p_B**gamma1   p_B**gamma2
    ``y_A != y_B`` and ``c_A < c_B``        0             p_B**gamma1   (1-c_A)**gamma2, on y_B
    ======================================  ============  ============  ===================

    If several classes share the student's highest probability, any of them counts as ``y_B``: the student agrees with a
    label among them.

    ``gamma1 == gamma2 == 0`` disables the weighting of these variants: every valid pixel has weight 1 and keeps its
    label (plain cross-entropy; iterated, it is CBST).

    Args:
        logits: student logits [N, C, ...], any float dtype; the softmax is computed in float32.
        label: int64 [N, ...], class index or ``ignore_index``.
        confidence: float32 [N, ...], ``c_A`` in [0, 1], or ``HUMAN`` (anything above 1) where a human labeled.
        gamma1: exponent on agreement, >= 0.
        gamma2: exponent on disagreement, >= 0.
        variant: 'dmt', 'naive' or 'flip'.
        ignore_index: label of pixels without weight.

    Raises:
        ValueError: unknown variant, negative or non-finite gamma, mismatched shapes.

    Example:
        A human label; agreement; the teacher is more confident; the student is. The teacher always predicts class 0.

        >>> logits = torch.tensor([[0.5, 0.5], [0.8, 0.2], [0.25, 0.75], [0.25, 0.75]]).log()
        >>> confidence = torch.tensor([HUMAN, 0.7, 0.9, 0.6])
        >>> dynamic_weight(logits, torch.zeros(4).long(), confidence, gamma1=2, gamma2=1).weight
        tensor([1.0000, 0.6400, 0.2500, 0.0000])
    """
    with torch.no_grad():
        log_prob = F.log_softmax(logits, dim=1, dtype=torch.float32)
    return weight_from_log_prob(log_prob, label, confidence, gamma1, gamma2, variant, ignore_index)


@torch.no_grad()
def weight_from_log_prob(
    log_prob: Tensor,
    label: Tensor,
    confidence: Tensor,
    gamma1: float,
    gamma2: float,
    variant: Variant = 'dmt',
    ignore_index: int = 255,
    own: Tensor | None = None,
) -> DynamicWeight:
    """Do what ``dynamic_weight`` does, from the float32 log-softmax [N, C, ...] that the loss already has.

    ``own``, float32 [N, ...], is the log-softmax at the label, if the caller has it. Other shapes, dtypes and errors
    are those of ``dynamic_weight``.

    Example:
        >>> log_prob = torch.tensor([[0.8, 0.2]]).log()
        >>> weight_from_log_prob(log_prob, torch.tensor([0]), torch.tensor([0.7]), gamma1=1, gamma2=1).weight
        tensor([0.8000])
    """
    check_variant(gamma1, gamma2, variant)
    check_shape('label', label, log_prob)
    check_shape('confidence', confidence, log_prob)
    if own is None:
        own = -F.nll_loss(log_prob, label, ignore_index=ignore_index, reduction='none')
    # The index of the maximum costs as much as the rest of the loss, so only 'flip' asks for it.
    best, student_label = log_prob.max(dim=1) if variant == 'flip' else (log_prob.amax(dim=1), label)
    confidence = confidence.float()
    valid = label != ignore_index
    pseudo = valid & (confidence <= 1)
    disagree = pseudo & (own < best)
    student_wins = disagree & (confidence < best.exp())
    weight = _power(own, gamma1)
    if variant != 'naive':
        if gamma1 != gamma2:
            weight = torch.where(disagree, _power(own, gamma2), weight)
        overruled = student_wins & (gamma1 > 0 or gamma2 > 0)
        won = (1 - confidence).clamp(min=0) ** gamma2 if variant == 'flip' else torch.zeros_like(weight)
        weight = torch.where(overruled, won, weight)
        if variant == 'flip':
            label = torch.where(overruled, student_label, label)
    weight = torch.where(pseudo, weight, valid.float())
    return DynamicWeight(weight, label, pseudo, disagree, student_wins)


def gamma_ramp(gamma_max: float, t: float, t_max: float) -> float:
    """Ramp gamma up: ``gamma_max * exp(-5 (1 - t / t_max)**2)`` (arXiv 2004.08514, classification).

    Args:
        gamma_max: value at ``t = t_max``, >= 0.
        t: step, in [0, t_max].
        t_max: last step (same unit as ``t``); 0 gives ``gamma_max``.

    Raises:
        ValueError: ``t`` outside [0, t_max], or negative or non-finite gamma_max.

    Example:
        >>> [round(gamma_ramp(4.0, t, 2), 3) for t in (0, 1, 2)]
        [0.027, 1.146, 4.0]
    """
    _check_gamma('gamma_max', gamma_max)
    if not 0 <= t <= t_max:
        raise ValueError(f't must be in [0, t_max]; got t={t}, t_max={t_max}')
    if t_max == 0:
        return float(gamma_max)
    return gamma_max * math.exp(-5 * (1 - t / t_max) ** 2)


def _power(log_prob: Tensor, gamma: float) -> Tensor:
    # 0 * -inf is NaN. The lowest finite number gives p ** 0 = 1 and still underflows to 0 for any other gamma.
    return (gamma * log_prob.clamp(min=torch.finfo(torch.float32).min)).exp()


def check_variant(gamma1: float, gamma2: float, variant: str) -> None:
    """Raise ValueError for an unknown variant or a negative or non-finite gamma.

    Example:
        >>> check_variant(-1, 2, 'dmt')
        Traceback (most recent call last):
        ValueError: gamma1 must be a finite number >= 0; got -1
    """
    if variant not in VARIANTS:
        raise ValueError(f'variant must be one of {VARIANTS}; got {variant!r}')
    for name, gamma in (('gamma1', gamma1), ('gamma2', gamma2)):
        _check_gamma(name, gamma)


def _check_gamma(name: str, gamma: float) -> None:
    if not 0 <= gamma < math.inf:
        raise ValueError(f'{name} must be a finite number >= 0; got {gamma}')


def check_shape(name: str, tensor: Tensor, logits: Tensor) -> None:
    """Raise ValueError, naming both shapes, unless ``tensor`` has one value for each pixel of ``logits``.

    Example:
        >>> check_shape('label', torch.zeros(2, 4), torch.zeros(2, 3, 4))
        >>> check_shape('label', torch.zeros(3), torch.zeros(2, 3))
        Traceback (most recent call last):
        ValueError: label must have the shape of logits without its class dimension; got label [3] and logits [2, 3]
    """
    if tensor.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(
            f'{name} must have the shape of logits without its class dimension; '
            f'got {name} {list(tensor.shape)} and logits {list(logits.shape)}'
        )

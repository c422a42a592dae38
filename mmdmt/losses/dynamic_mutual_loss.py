"""The dynamic loss of DMT as a head loss of the OpenMMLab toolboxes."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_reduce
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from mmdmt.core.class_mean import RunningClassMean
from mmdmt.core.dynamic_loss import (
    CLASS_WEIGHTS_OF,
    NORMALISERS,
    ClassWeightOf,
    Normaliser,
    Reduction,
    dynamic_mutual_loss,
)
from mmdmt.core.dynamic_weight import VARIANTS, DynamicWeight, Gamma, Variant, dynamic_weight, without_class_weight

NOTHING_IGNORED = -(2**62)
"""An ``ignore_index`` that no data set has for a label."""

TINY = torch.finfo(torch.float32).tiny


class Statistics(NamedTuple):
    """What a batch's pseudo-labeled pixels (images) were like: float32 scalars, 0 where the batch has none of them."""

    disagree: Tensor
    student_wins: Tensor
    mean_weight: Tensor


@MODELS.register_module()
class DynamicMutualLoss(nn.Module):
    """Cross-entropy, weighted down where student and teacher disagree: the dynamic loss of arXiv 2004.08514.

    Usable as ``loss_decode`` of any head of mmsegmentation built on ``BaseDecodeHead``, auxiliary heads included, in a
    ``DMTEncoderDecoder``, and as ``loss`` of any head of mmpretrain built on ``ClsHead`` in a ``DMTImageClassifier``;
    these hand it the confidence of each pixel or image. Without confidence it is the cross-entropy over the pixels
    that are not ignored, or over the images.

    Args:
        gamma1: Exponent where both agree, not negative; or one for each class of the teacher.
            ``gamma1 = gamma2 = 0`` is plain cross-entropy (CBST).
        gamma2: Exponent where they disagree and the teacher is the more confident one; as ``gamma1``.
        variant: ``dmt``, ``naive`` (no cases, gamma1 only), ``flip`` (train on the student's label where it wins) or
            ``online`` (Online ST, for ``scheme='online'``: no teacher, the student's own label where it is sure).
        threshold: Confidence above which variant ``online`` takes the student's label, in [0, 1).
        class_weight: Factor of each class; the mean is then over the factors.
        loss_weight: Factor of the loss.
        loss_name: Key of the loss in the log; it must start with ``loss_`` to be trained on.
        confidence_power: k of ``w = c_A**k * p_B**gamma``: the weight is multiplied by a power of the teacher's
            confidence (variants ``dmt`` and ``naive``). With ``gamma1 = gamma2 = 0``, it is the weight.
        class_normalised: Divide each weight by the running mean weight of its pseudo class, or by 1/10 if the mean is
            lower: each class keeps a mean weight of 1. The mean is over the steps of a phase, and all processes; it is
            no part of the state dict, and begins anew where an interrupted phase is continued.
        normaliser: What the sum of the weighted cross-entropies is divided by: ``valid``, the number of pixels that
            are not ignored (or images), or ``weighted``, the sum of their weights, 1 for each that a human labeled.
        class_weight_of: The labels that ``class_weight`` scales: ``all``, or ``human`` for those of humans only: pseudo
            labels of a rare class are often wrong, and its factor makes more of them in each iteration.
        prior_corrected: Take ``class_weight`` out of the predictions that become pseudo labels, and of those that weigh
            them: a model trained with it says rare classes too often
            (:func:`~mmdmt.core.dynamic_weight.without_class_weight`). For segmentation.

    Raises:
        ValueError: if an argument is outside of what is allowed.
    """

    def __init__(
        self,
        gamma1: float | Sequence[float] = 5.0,
        gamma2: float | Sequence[float] = 5.0,
        variant: Variant = 'dmt',
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_dmt',
        threshold: float = 0.9,
        confidence_power: float = 0.0,
        class_normalised: bool = False,
        normaliser: Normaliser = 'valid',
        class_weight_of: ClassWeightOf = 'all',
        prior_corrected: bool = False,
    ) -> None:
        super().__init__()
        _check_gammas(gamma1, gamma2, variant)
        _check_options(variant, threshold, confidence_power, class_normalised, normaliser)
        if class_weight_of not in CLASS_WEIGHTS_OF:
            raise ValueError(f'DynamicMutualLoss: class_weight_of={class_weight_of!r} is not one of {CLASS_WEIGHTS_OF}')
        if not loss_name.startswith('loss_'):
            raise ValueError(f'DynamicMutualLoss: loss_name={loss_name!r} must start with loss_ to be trained on')
        self.gamma1, self.gamma2 = gamma1, gamma2
        self.variant: Variant = variant
        self.threshold = threshold
        self.confidence_power = confidence_power
        self.class_mean = RunningClassMean(reduce=all_reduce) if class_normalised else None
        self.normaliser: Normaliser = normaliser
        self.class_weight_of: ClassWeightOf = class_weight_of
        if prior_corrected and (not class_weight or min(class_weight) <= 0):
            raise ValueError(
                f'DynamicMutualLoss: prior_corrected needs class_weight, all above 0, got class_weight={class_weight}'
            )
        self.prior_corrected = prior_corrected
        self.class_weight = class_weight
        self.loss_weight = loss_weight
        self.loss_name = loss_name
        # Set from outside: the ramp factor of both gammas (DMTHook), and for the time of one loss() of the model the
        # confidence of its batch, float32 [N, H, W] or [N], with the name of the head for error messages.
        self.gamma_scale = 1.0
        self.confidence: Tensor | None = None
        self.owner = 'its head'
        self.statistics: Statistics | None = None

    @property
    def weighs(self) -> bool:
        """Whether any pseudo label can get another weight than 1."""
        return any([*_listed(self.gamma1), *_listed(self.gamma2), self.confidence_power])

    def check_classes(self, num_classes: int) -> None:
        """Refuse gammas of another number of classes.

        Raises:
            ValueError: naming the head and both numbers.
        """
        for name, gamma in (('gamma1', self.gamma1), ('gamma2', self.gamma2)):
            if isinstance(gamma, Sequence) and len(gamma) != num_classes:
                raise ValueError(
                    f'DynamicMutualLoss: {name} lists {len(gamma)} numbers where {self.owner} has {num_classes} classes'
                )

    def corrected(self, cls_score: Tensor) -> Tensor:
        """Logits [N, C, ...] that pseudo labels are made of and judged by: see ``prior_corrected``."""
        if not self.prior_corrected:
            return cls_score
        return without_class_weight(cls_score.float(), cls_score.new_tensor(self.class_weight, dtype=torch.float32))

    def _gammas(self, device: torch.device) -> tuple[Gamma, Gamma]:
        first, second = (
            (torch.tensor(gamma, dtype=torch.float32, device=device) if isinstance(gamma, Sequence) else gamma)
            * self.gamma_scale
            for gamma in (self.gamma1, self.gamma2)
        )
        return first, second

    def weigh(
        self, cls_score: Tensor, label: Tensor, confidence: Tensor, ignore_index: int = NOTHING_IGNORED
    ) -> DynamicWeight:
        """Weights of a batch, where they are not those of the logits that the loss is taken of (mixup, analysis).

        Args:
            cls_score: Logits [N, C] of unmixed images, or [N, C, H, W] of pixels.
            label: int64 [N] or [N, H, W].
            confidence: float32 of the shape of the labels, 2.0 where a human labeled.
            ignore_index: Label of what has no weight.
        """
        result = dynamic_weight(
            self.corrected(cls_score),
            label,
            confidence,
            *self._gammas(cls_score.device),
            self.variant,
            ignore_index=ignore_index,
            threshold=self.threshold,
            confidence_power=self.confidence_power,
        )
        if self.class_mean is not None:
            result = self.class_mean.normalise(result, cls_score.shape[1])
        self.statistics = _statistics(result)
        return result

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        reduction_override: Reduction | None = None,
        avg_factor: float | None = None,
        **_: Any,
    ) -> Tensor:
        """Loss of a batch.

        Args:
            cls_score: Logits [N, C, H, W] of pixels or [N, C] of images.
            label: int64 [N, H, W] or [N]; or float [N, C], a distribution over classes (mixup), weighted already.
            weight: Factor of each pixel or image, as a pixel sampler (OHEM) gives it, in the shape of int64 labels.
            ignore_index: Label that is left out. None, as some heads leave it: 255 for pixels, none for images.
            reduction_override: ``none`` gives the loss of each pixel, ``sum`` the sum. Default: the mean.
            avg_factor: What the sum is divided by for the mean. Default: the number of valid pixels, or of images. Not
                used by the normaliser ``weighted``.

        Raises:
            ValueError: if the head gives labels of another shape than the image's confidence.
        """
        # Not of the dtype of the logits, which mixed precision may have rounded to 8 bits.
        class_weight = (
            None if self.class_weight is None else cls_score.new_tensor(self.class_weight, dtype=torch.float32)
        )
        reduction: Reduction = reduction_override or 'mean'
        divide = avg_factor is not None and reduction == 'mean' and self.normaliser == 'valid'
        if label.is_floating_point():
            loss = F.cross_entropy(cls_score.float(), label.float(), weight=class_weight, reduction='none')
            loss = loss if weight is None else loss * weight
            if divide or reduction == 'sum':
                loss = loss.sum()
            elif reduction == 'mean':
                loss = loss.sum() / label.sum().clamp(min=TINY) if self.normaliser == 'weighted' else loss.mean()
        else:
            loss = self._hard_loss(cls_score, label, weight, ignore_index, class_weight, 'sum' if divide else reduction)
        return self.loss_weight * (loss / avg_factor if divide else loss)

    def _hard_loss(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None,
        ignore_index: int | None,
        class_weight: Tensor | None,
        reduction: Reduction,
    ) -> Tensor:
        if self.confidence is not None and self.confidence.shape != label.shape:
            raise ValueError(
                f'DynamicMutualLoss cannot serve {self.owner}: it compares labels of shape {tuple(label.shape)} where '
                f'the images have {tuple(self.confidence.shape)} pixels (does it sample or resize them?)'
            )
        if ignore_index is None:
            ignore_index = 255 if label.ndim > 1 else NOTHING_IGNORED
        loss, result = dynamic_mutual_loss(
            cls_score,
            label,
            self.confidence,
            *self._gammas(cls_score.device),
            self.variant,
            ignore_index=ignore_index,
            class_weight=class_weight,
            pixel_weight=weight,
            reduction=reduction,
            threshold=self.threshold,
            confidence_power=self.confidence_power,
            class_mean=self.class_mean,
            normaliser=self.normaliser,
            class_weight_of=self.class_weight_of,
            prior_corrected=self.prior_corrected,
        )
        if result is not None:
            self.statistics = _statistics(result)
        return loss

    def extra_repr(self) -> str:
        """Show what defines the loss."""
        return (
            f'gamma1={self.gamma1}, gamma2={self.gamma2}, variant={self.variant!r}, '
            f'confidence_power={self.confidence_power}, class_normalised={self.class_mean is not None}, '
            f'normaliser={self.normaliser!r}, class_weight_of={self.class_weight_of!r}, '
            f'prior_corrected={self.prior_corrected}'
        )


@torch.no_grad()
def _statistics(result: DynamicWeight) -> Statistics:
    count = result.pseudo.sum().clamp(min=1)
    return Statistics(
        disagree=result.disagree.sum() / count,
        student_wins=result.student_wins.sum() / count,
        mean_weight=(result.weight * result.pseudo).sum() / count,
    )


def _listed(gamma: float | Sequence[float]) -> Sequence[float]:
    return gamma if isinstance(gamma, Sequence) else [gamma]


def _check_gammas(gamma1: float | Sequence[float], gamma2: float | Sequence[float], variant: str) -> None:
    for name, gamma in (('gamma1', gamma1), ('gamma2', gamma2)):
        if not all(0 <= value < math.inf for value in _listed(gamma)):
            raise ValueError(f'DynamicMutualLoss: {name}={gamma} must be a finite number, not negative, or one a class')
    if variant not in VARIANTS:
        raise ValueError(f'DynamicMutualLoss: variant={variant!r} is not one of {VARIANTS}')
    if variant == 'naive' and gamma1 != gamma2:
        raise ValueError(f'DynamicMutualLoss: variant naive has one gamma, got gamma1={gamma1}, gamma2={gamma2}')


def _check_options(
    variant: str, threshold: float, confidence_power: float, class_normalised: bool, normaliser: str
) -> None:
    if not 0 <= threshold < 1:
        raise ValueError(f'DynamicMutualLoss: threshold={threshold} must be in [0, 1)')
    if not 0 <= confidence_power < math.inf:
        raise ValueError(
            f'DynamicMutualLoss: confidence_power={confidence_power} must be a finite number, not negative'
        )
    if confidence_power and variant not in ('dmt', 'naive'):
        raise ValueError(f'DynamicMutualLoss: confidence_power is for the variants dmt and naive, got {variant!r}')
    if class_normalised and variant == 'online':
        raise ValueError('DynamicMutualLoss: class_normalised is not for variant online, whose weights are all 1')
    if normaliser not in NORMALISERS:
        raise ValueError(f'DynamicMutualLoss: normaliser={normaliser!r} is not one of {NORMALISERS}')

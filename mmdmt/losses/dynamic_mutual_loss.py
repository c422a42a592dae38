"""The dynamic loss of DMT as a head loss of the OpenMMLab toolboxes."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from mmdmt.core.dynamic_loss import Reduction, dynamic_mutual_loss
from mmdmt.core.dynamic_weight import VARIANTS, DynamicWeight, Variant, dynamic_weight, gamma_ramp
from mmdmt.core.transfer import to_device
from mmdmt.losses.whole_batch import average_of_processes

NOTHING_IGNORED = -(2**62)
"""An ``ignore_index`` that no dataset uses as a label."""


class Statistics(NamedTuple):
    """Statistics of a batch's pseudo-labeled pixels or images: float32 scalars, 0 if the batch has none."""

    disagree: Tensor
    student_wins: Tensor
    mean_weight: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, decision: DynamicWeight) -> 'Statistics':
        """Compute shares among the pseudo-labeled pixels, and their mean weight, from the weights of a batch."""
        count = decision.pseudo.sum().clamp(min=1)
        return cls(
            disagree=decision.disagree.sum() / count,
            student_wins=decision.student_wins.sum() / count,
            mean_weight=(decision.weight * decision.pseudo).sum() / count,
        )


class ServedBatch(NamedTuple):
    """What a loss receives for one batch: the confidence, and the name of its head for error messages."""

    confidence: Tensor | None
    head: str


@MODELS.register_module()
class DynamicMutualLoss(nn.Module):
    """Cross-entropy, weighted down where student and teacher disagree: the dynamic loss of arXiv 2004.08514.

    In a ``DMTEncoderDecoder``, it is the ``loss_decode`` of any mmsegmentation head built on ``BaseDecodeHead``,
    auxiliary heads included. In a ``DMTImageClassifier``, it is the ``loss`` of any mmpretrain head built on
    ``ClsHead``. Both models pass it the confidence of each pixel or image (:func:`teacher_confidence`). Without
    confidence, it is the cross-entropy over the pixels that are not ignored, or over the images.

    The mean is over the valid pixels or images of the batch. If ``whole_batch`` is True, this includes the parts of the
    batch that other processes have: the average of the processes' losses, whose gradient distributed training computes,
    is the loss of the whole batch. All processes must then compute the loss. In a train phase,
    :class:`~mmdmt.engine.hooks.WholeBatchHook` sets it.

    After a batch with confidence, ``statistics`` holds its :class:`Statistics`.

    Args:
        gamma1: Exponent where both agree, not negative. ``gamma1 = gamma2 = 0`` is plain cross-entropy (CBST).
        gamma2: Exponent where they disagree and the teacher is more confident, not negative.
        variant: ``dmt``, ``naive`` (no cases, gamma1 only) or ``flip`` (train on the student's label where it wins).
        class_weight: Factor of each class, or a file that holds them (``.json`` or ``.npy``). With int64 labels, the
            mean divides by the sum of the factors.
        loss_weight: Factor of the loss.
        loss_name: Key of the loss in the log; mmengine only trains on keys that start with ``loss_``.
        ramp: Raise both gammas over a phase, from ``exp(-5)`` of their values to the full values
            (:func:`~mmdmt.core.dynamic_weight.gamma_ramp`); :meth:`set_progress` sets the position.

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(
        self,
        gamma1: float = 5.0,
        gamma2: float = 5.0,
        variant: Variant = 'dmt',
        class_weight: Sequence[float] | str | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_dmt',
        ramp: bool = False,
    ) -> None:
        super().__init__()
        _check_gammas(gamma1, gamma2, variant)
        _check_options(ramp, loss_name)
        class_weight = _read_factors(class_weight)
        _check_factors(loss_weight, class_weight)
        self.gamma1, self.gamma2 = gamma1, gamma2
        self.variant: Variant = variant
        self.class_weight = class_weight
        self.loss_weight = loss_weight
        self.loss_name = loss_name
        self.ramp = ramp
        self.whole_batch = False
        self.statistics: Statistics | None = None
        self._gamma_scale = 1.0
        self._batch: ServedBatch | None = None

    @property
    def weighs(self) -> bool:
        """Whether the gammas can give a pseudo label a weight other than 1."""
        return self.gamma1 > 0 or self.gamma2 > 0

    def set_progress(self, progress: float) -> None:
        """Set the progress of a phase, from 0 at its first step to 1 at its last one. Only ``ramp`` uses it.

        Raises:
            ValueError: if ``progress`` is outside [0, 1].
        """
        if not 0 <= progress <= 1:
            raise ValueError(f'DynamicMutualLoss: progress={progress} must be in [0, 1]')
        self._gamma_scale = gamma_ramp(1.0, progress, 1.0) if self.ramp else 1.0

    def weigh(
        self, cls_score: Tensor, label: Tensor, confidence: Tensor, ignore_index: int = NOTHING_IGNORED
    ) -> DynamicWeight:
        """Compute the weights of a batch from logits that the loss does not see itself (mixup, analysis).

        Args:
            cls_score: Logits [N, C] of unmixed images, or [N, C, H, W] of pixels.
            label: int64 [N] or [N, H, W].
            confidence: float32, same shape as the labels, 2.0 where a human labeled.
            ignore_index: Label of pixels or images without weight.
        """
        return dynamic_weight(cls_score, label, confidence, *self._gammas, self.variant, ignore_index)

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
        """Compute the loss of a batch.

        Args:
            cls_score: Logits [N, C, H, W] of pixels or [N, C] of images.
            label: int64 [N, H, W] or [N]; or float [N, C], an already weighted distribution over classes (mixup).
            weight: Factor of each pixel or image, e.g. of a pixel sampler (OHEM), in the shape of int64 labels.
            ignore_index: Label without loss. None, which some heads pass, means 255 for pixels, no label for images.
            reduction_override: ``none`` gives the loss of each pixel, ``sum`` the sum. Default: the mean.
            avg_factor: Divisor of the mean. Default: the number of valid pixels or of images.

        Raises:
            ValueError: if labels and confidence have different shapes.
        """
        # Always float32: mixed precision may have rounded the logits to 8 bits.
        class_weight = None
        if self.class_weight is not None:
            class_weight = to_device(torch.tensor(self.class_weight, dtype=torch.float32), cls_score.device)
        reduction: Reduction = reduction_override or 'mean'
        divide = avg_factor is not None and reduction == 'mean'
        if divide:
            reduction = 'sum'
        if label.is_floating_point():
            loss = _soft_loss(cls_score, label, weight, class_weight, reduction)
        else:
            loss = self._hard_loss(cls_score, label, weight, ignore_index, class_weight, reduction)
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
        confidence, head = self._batch or (None, '')
        if confidence is not None and confidence.shape != label.shape:
            raise ValueError(
                f'DynamicMutualLoss cannot serve {head}: its labels have shape {tuple(label.shape)}, but the '
                f'confidence has {tuple(confidence.shape)} (does the head sample or resize labels?)'
            )
        if ignore_index is None:
            ignore_index = 255 if label.ndim > 1 else NOTHING_IGNORED
        loss, decision = dynamic_mutual_loss(
            cls_score, label, confidence, *self._gammas, self.variant,
            ignore_index=ignore_index, class_weight=class_weight, pixel_weight=weight, reduction=reduction,
            average=average_of_processes if self.whole_batch else None,
        )  # fmt: skip
        if decision is not None:
            self.statistics = Statistics.of(decision)
        return loss

    @property
    def _gammas(self) -> tuple[float, float]:
        return self.gamma1 * self._gamma_scale, self.gamma2 * self._gamma_scale

    def extra_repr(self) -> str:
        """Show the settings that define the loss."""
        return f'gamma1={self.gamma1}, gamma2={self.gamma2}, variant={self.variant!r}, ramp={self.ramp}'


@contextmanager
def teacher_confidence(losses: Iterable[tuple[str, DynamicMutualLoss]], confidence: Tensor | None) -> Iterator[None]:
    """Pass the confidence of a batch to the dynamic losses of a model during one ``loss()`` of the model.

    Only this function sets it. Statistics of an earlier batch are deleted at the start, the confidence at the end.

    Args:
        losses: Pairs of head name (for error messages) and loss.
        confidence: float32 [N, H, W] or [N], in [0, 1], or 2.0 where a human labeled; None for human labels only.
    """
    losses = list(losses)
    for head, loss in losses:
        loss._batch, loss.statistics = ServedBatch(confidence, head), None
    try:
        yield
    finally:
        for _, loss in losses:
            loss._batch = None


def _soft_loss(
    cls_score: Tensor, label: Tensor, weight: Tensor | None, class_weight: Tensor | None, reduction: Reduction
) -> Tensor:
    loss = F.cross_entropy(cls_score.float(), label.float(), weight=class_weight, reduction='none')
    if weight is not None:
        loss = loss * weight
    return {'none': lambda: loss, 'sum': loss.sum, 'mean': loss.mean}[reduction]()


def _check_gammas(gamma1: float, gamma2: float, variant: str) -> None:
    for name, gamma in (('gamma1', gamma1), ('gamma2', gamma2)):
        if isinstance(gamma, bool) or not isinstance(gamma, int | float) or not 0 <= gamma < math.inf:
            raise ValueError(f'DynamicMutualLoss: {name}={gamma!r} must be a finite number >= 0')
    if variant not in VARIANTS:
        raise ValueError(f'DynamicMutualLoss: variant={variant!r} is not one of {VARIANTS}')
    if variant == 'naive' and gamma1 != gamma2:
        raise ValueError(f"DynamicMutualLoss: variant 'naive' needs gamma1 = gamma2, got {gamma1} and {gamma2}")


def _check_options(ramp: bool, loss_name: str) -> None:
    if not isinstance(ramp, bool):
        raise ValueError(f'DynamicMutualLoss: ramp={ramp!r} must be True or False')
    if not loss_name.startswith('loss_'):
        raise ValueError(f"DynamicMutualLoss: loss_name={loss_name!r} must start with 'loss_' to be trained on")


def _read_factors(class_weight: Sequence[float] | str | None) -> list[float] | None:
    """The factors as a list, from a file if there is one, as mmseg's losses do."""
    found: Any = class_weight
    if isinstance(class_weight, str):
        try:
            if class_weight.endswith('.json'):
                found = json.loads(Path(class_weight).read_bytes())
            elif class_weight.endswith('.npy'):
                found = np.load(class_weight)
        except Exception as error:  # as many as there are ways to damage a file
            raise ValueError(f'DynamicMutualLoss: class_weight {class_weight!r} cannot be read: {error}') from error
    if hasattr(found, 'tolist'):  # an array or a tensor
        found = found.tolist()
    if isinstance(found, list | tuple):
        return list(found)
    if class_weight is None:
        return None
    raise ValueError(
        'DynamicMutualLoss: class_weight must be a list of numbers, or a .json or .npy file that holds one, got '
        f'{class_weight!r}'
    )


def _check_factors(loss_weight: float, class_weight: Sequence[float] | None) -> None:
    for name, value in (('loss_weight', loss_weight), *(('class_weight', factor) for factor in class_weight or ())):
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value < math.inf:
            raise ValueError(f'DynamicMutualLoss: {name} must hold finite numbers that are not negative, got {value!r}')

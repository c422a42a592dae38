"""The classifier that can use the dynamic loss."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.models.heads import ClsHead
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor

from mmdmt.core.batch_norm import frozen_batch_norm
from mmdmt.core.confidence import top_log_odds
from mmdmt.core.dynamic_weight import HUMAN, DynamicWeight
from mmdmt.core.mixup import WEIGHTINGS, Mixed, Weighting, draw_lam, draw_partners, mixup
from mmdmt.core.transfer import to_device
from mmdmt.losses.dynamic_mutual_loss import DynamicMutualLoss, Statistics, teacher_confidence
from mmdmt.origin import KnowsOrigin


@dataclass(frozen=True)
class MixupSettings:
    """Settings of mixup: see :func:`mmdmt.core.mixup.draw_lam` and :func:`mmdmt.core.mixup.mixup`."""

    alpha: float = 0.75
    dominant: bool = True
    weighting: Weighting = 'image'

    def __post_init__(self) -> None:
        if not 0 < self.alpha < math.inf:
            raise ValueError(
                f'DMTImageClassifier: mixup.alpha={self.alpha} must be a finite number above 0; mixup=None disables '
                'mixup'
            )
        if self.weighting not in WEIGHTINGS:
            raise ValueError(f'DMTImageClassifier: mixup.weighting={self.weighting!r} is not one of {WEIGHTINGS}')


@MODELS.register_module()
class DMTImageClassifier(KnowsOrigin, ImageClassifier):
    """``ImageClassifier`` for DMT: same state dict, same predictions; the head's loss is a ``DynamicMutualLoss``.

    ``gt_confidence`` of the data samples holds the confidence of the labels, a float32 scalar, 2.0 if a human labeled
    the image. With mixup, weights are those of the unmixed images. A second forward pass computes them: without
    gradient, in training mode, and without change to the running statistics of batch norm. It is skipped if all weights
    are 1: with gamma 0, or where ``human_label`` of all images is true. Predictions also have ``log_odds`` of the class
    in ``pred_label``, float32, because softmax scores are too coarse to rank.

    Args:
        mixup: Arguments of :class:`MixupSettings`, or None for no mixup.
        args: Arguments of ``ImageClassifier``.
        kwargs: Likewise.

    Raises:
        ValueError: if the head cannot be served, or if the config mixes images elsewhere; the message gives the reason.
    """

    def __init__(self, *args: Any, mixup: Mapping | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mixup = None if mixup is None else MixupSettings(**mixup)
        if not isinstance(self.head, ClsHead) or not isinstance(self.head.loss_module, DynamicMutualLoss):
            raise ValueError(
                "DMTImageClassifier needs a head built on ClsHead with loss=dict(type='DynamicMutualLoss', gamma1=..., "
                f'gamma2=...); got head {type(self.head).__name__} with loss '
                f'{type(getattr(self.head, "loss_module", None)).__name__}'
            )
        if getattr(self.data_preprocessor, 'batch_augments', None) is not None:
            raise ValueError(
                'DMTImageClassifier: the data_preprocessor (or train_cfg) has batch_augments, which mix images before '
                'their weights are known; use mixup=dict(alpha=...) of the model instead'
            )
        if self.mixup is not None and self.head.cal_acc:
            raise ValueError('DMTImageClassifier: head.cal_acc=True has no meaning with mixup; set it to False')
        if self.mixup is not None and not hasattr(self.head, 'num_classes'):
            raise ValueError(
                f'DMTImageClassifier: mixup needs a head with num_classes, but {type(self.head).__name__} has none'
            )

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Compute the losses of a batch of images [N, ...]; add statistics of its pseudo labels for the log.

        Raises:
            ValueError: if only some images have a confidence, or if one has not exactly one label.
        """
        label, confidence = _stack_labels(data_samples)
        if self.mixup is None:
            # Pass labels only: a head would prefer gt_score, which has no confidence.
            targets = [DataSample().set_gt_label(target) for target in label]
            with teacher_confidence([(f'head {type(self.head).__name__}', self.dynamic_loss)], confidence):
                losses = self.head.loss(self.extract_feat(inputs), targets)
            statistics = self.dynamic_loss.statistics
        else:
            human = all(sample.get('human_label', False) for sample in data_samples)
            decision = None if human else self._weigh(inputs, label, confidence)
            statistics = None if decision is None else Statistics.of(decision)
            mixed = self._mix(self.mixup, inputs, label, decision)
            targets = [DataSample().set_gt_score(target) for target in mixed.target]
            losses = self.head.loss(self.extract_feat(mixed.images), targets)
        return losses if statistics is None else {**losses, **statistics._asdict()}

    @property
    def dynamic_loss(self) -> DynamicMutualLoss:
        """The dynamic loss of the head."""
        return self.head.loss_module

    @property
    def served_losses(self) -> list[DynamicMutualLoss]:
        """The dynamic losses that get the confidence."""
        return [self.dynamic_loss]

    def _mix(self, settings: MixupSettings, inputs: Tensor, label: Tensor, decision: DynamicWeight | None) -> Mixed:
        """Mix a batch; without ``decision``, all weights are 1."""
        weight = torch.ones_like(label, dtype=torch.float32)
        if decision is not None:
            label, weight = decision.label, decision.weight
        partner = draw_partners(len(label), inputs.device)
        # F.one_hot would look at the values of the labels first, and a GPU would have to wait.
        one_hot = torch.zeros(len(label), self._num_classes, device=label.device).scatter_(1, label.unsqueeze(1), 1.0)
        lam = draw_lam(settings.alpha, settings.dominant)
        return mixup(inputs, one_hot, weight, lam, partner, settings.weighting)

    def _weigh(self, inputs: Tensor, label: Tensor, confidence: Tensor) -> DynamicWeight | None:
        """Compute label and weight of each unmixed image; None if all weights are 1."""
        if not self.dynamic_loss.weighs:
            return None
        with torch.no_grad(), frozen_batch_norm(self):
            logits = self._logits(self.extract_feat(inputs))
        # Autocast caches casts of the model's parameters; casts made here have no gradient.
        torch.clear_autocast_cache()
        return self.dynamic_loss.weigh(logits, label, confidence)

    def predict(self, inputs: Tensor, data_samples: list[DataSample] | None = None, **kwargs: Any) -> list[DataSample]:
        """Predict images [N, ...] with the head; each prediction gets ``log_odds``, a float32 scalar."""
        feats = self.extract_feat(inputs)
        predictions = self.head.predict(feats, data_samples, **kwargs)
        _, log_odds = top_log_odds(self._logits(feats))
        for sample, value in zip(predictions, log_odds, strict=True):
            sample.set_field(value, 'log_odds')
        return predictions

    @property
    def _num_classes(self) -> int:
        return self.head.num_classes

    def _logits(self, feats: Any) -> Tensor:
        logits = self.head(feats)
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            raise ValueError(
                f'DMT cannot serve head {type(self.head).__name__}: it must give one tensor of logits [N, C], got '
                f'{type(logits).__name__}'
            )
        return logits


def _stack_labels(data_samples: list[DataSample]) -> tuple[Tensor, Tensor]:
    """Stack labels int64 [N] and confidences float32 [N] of a batch; if no image has a confidence, all are human."""
    human = not any('gt_confidence' in sample for sample in data_samples)
    for sample in data_samples:
        if not (human or 'gt_confidence' in sample) or sample.get('gt_label') is None or sample.gt_label.numel() != 1:
            raise ValueError(
                f'image {sample.get("img_path", "")!r} needs gt_confidence and exactly one gt_label: use PackDMTInputs '
                'in the pipelines of both the labeled and the unlabeled dataset'
            )
    label = torch.cat([sample.gt_label for sample in data_samples])
    if human:
        return label, torch.full_like(label, HUMAN, dtype=torch.float32)
    # mmpretrain's data preprocessor moves labels to the device, and nothing else.
    return label, to_device(torch.stack([sample.gt_confidence for sample in data_samples]), label.device)

"""Segmentors whose heads can use the dynamic loss."""

from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models import CascadeEncoderDecoder, EncoderDecoder
from mmseg.models.decode_heads import PointHead, STDCHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmdmt.core.dynamic_weight import HUMAN
from mmdmt.losses.dynamic_mutual_loss import DynamicMutualLoss, teacher_confidence
from mmdmt.origin import KnowsOrigin


def stack_confidence(data_samples: list) -> Tensor | None:
    """Stack the confidences of a batch, float32 [N, H, W], padded like its label maps; None if no sample has one.

    Raises:
        ValueError: if only some samples have a confidence.
    """
    have = ['gt_confidence' in sample for sample in data_samples]
    if not any(have):
        return None
    if not all(have):
        raise ValueError(
            f'{have.count(False)} of {len(have)} images of a batch have no gt_confidence: use LoadDMTAnnotations and '
            'PackDMTInputs in the pipelines of both the labeled and the unlabeled dataset'
        )
    # The data_preprocessor pads images and label maps only. Padding is treated as human-labeled void.
    return torch.stack(
        [
            F.pad(sample.gt_confidence.data[0], sample.metainfo.get('padding_size', (0, 0, 0, 0)), value=HUMAN)
            for sample in data_samples
        ]
    )


class _DynamicMutual(KnowsOrigin):
    """What DMT adds to a segmentor: it passes the confidence to every ``DynamicMutualLoss`` of its heads."""

    decode_head: nn.Module

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._dynamic_losses: list[tuple[str, DynamicMutualLoss]] = []
        for name in ('decode_head', 'auxiliary_head'):
            heads = getattr(self, name, None)
            for head in heads if isinstance(heads, nn.ModuleList) else [heads]:
                if head is not None:
                    title = f'{name} {type(head).__name__}'
                    self._dynamic_losses += [(title, loss) for loss in _losses_of(head, title)]
        if not any(isinstance(module, DynamicMutualLoss) for module in self._final_head.modules()):
            raise ValueError(
                f'{type(self).__name__}: decode_head {type(self._final_head).__name__} has no DynamicMutualLoss; set '
                "its loss_decode=dict(type='DynamicMutualLoss', gamma1=..., gamma2=...)"
            )

    @property
    def _final_head(self) -> nn.Module:
        return self.decode_head[-1] if isinstance(self.decode_head, nn.ModuleList) else self.decode_head

    @property
    def dynamic_loss(self) -> DynamicMutualLoss:
        """The dynamic loss of the predicting head."""
        return next(module for module in self._final_head.modules() if isinstance(module, DynamicMutualLoss))

    @property
    def served_losses(self) -> list[DynamicMutualLoss]:
        """The dynamic losses that get the confidence."""
        return [loss for _, loss in self._dynamic_losses]

    def loss(self, inputs: Tensor, data_samples: list) -> dict:
        """Compute the losses of a batch; with confidences, add statistics of its pseudo-labeled pixels for the log."""
        with teacher_confidence(self._dynamic_losses, stack_confidence(data_samples)):
            losses = super().loss(inputs, data_samples)
        statistics = self.dynamic_loss.statistics
        return losses if statistics is None else {**losses, **statistics._asdict()}


def _losses_of(head: nn.Module, title: str) -> list[DynamicMutualLoss]:
    """List the dynamic losses of a head; raise ValueError, with the reason, for a head that cannot be served."""
    if not isinstance(head, BaseDecodeHead):
        raise ValueError(f'DMT cannot serve {title}: it is not built on BaseDecodeHead, its loss matches whole masks')
    losses = [module for module in head.modules() if isinstance(module, DynamicMutualLoss)]
    if isinstance(head, PointHead):
        raise ValueError(f'DMT cannot serve {title}: it computes its loss at sampled points, not at every pixel')
    if losses and isinstance(head, STDCHead):
        raise ValueError(f'DMT cannot serve {title}: it learns boundaries, not classes; keep its stock losses')
    if losses and head.out_channels != head.num_classes:
        raise ValueError(
            f'DMT cannot serve {title}: it has out_channels={head.out_channels} for {head.num_classes} classes; '
            'DynamicMutualLoss needs one channel per class'
        )
    return losses


@MODELS.register_module()
class DMTEncoderDecoder(_DynamicMutual, EncoderDecoder):
    """``EncoderDecoder`` for DMT: same arguments, same state dict, same predictions.

    At least the decode head must have a ``DynamicMutualLoss``. ``gt_confidence`` of the data samples holds the
    confidence of the labels, float32 [1, H, W], 2.0 where a human labeled the pixel.

    Raises:
        ValueError: if a head cannot be served; the message names the head and the reason.
    """


@MODELS.register_module()
class DMTCascadeEncoderDecoder(_DynamicMutual, CascadeEncoderDecoder):
    """``CascadeEncoderDecoder`` for DMT, see :class:`DMTEncoderDecoder`."""

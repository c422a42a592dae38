"""Segmentors whose heads can use the dynamic loss."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models import CascadeEncoderDecoder, EncoderDecoder
from mmseg.models.decode_heads import PointHead, STDCHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmdmt.core.cutmix import draw_pastes, paste
from mmdmt.core.dynamic_weight import HUMAN
from mmdmt.losses.dynamic_mutual_loss import DynamicMutualLoss


def stack_confidence(data_samples: list) -> Tensor | None:
    """Confidence of a batch, float32 [N, H, W], padded like its label maps; None if no sample has one.

    Raises:
        ValueError: if only some samples have a confidence.
    """
    have = ['gt_confidence' in sample for sample in data_samples]
    if not any(have):
        return None
    if not all(have):
        raise ValueError(
            f'{have.count(False)} of {len(have)} images of a batch have no gt_confidence: use LoadDMTAnnotations and '
            'PackDMTInputs in the pipelines of the labeled and of the unlabeled dataset'
        )
    # The data_preprocessor pads images and label maps only. What it adds is ignored, as a human's void is: a lower
    # confidence would ask for the student's own label there (Online ST).
    return torch.stack(
        [
            F.pad(sample.gt_confidence.data[0], sample.metainfo.get('padding_size', (0, 0, 0, 0)), value=HUMAN)
            for sample in data_samples
        ]
    )


@dataclass(frozen=True)
class CutMixSettings:
    """How pseudo-labeled images are mixed: see :func:`mmdmt.core.cutmix.draw_pastes`."""

    area: float = 0.5
    prob: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.area < 1:
            raise ValueError(f'cut_mix.area={self.area} must be above 0 and below 1, the share of an image')
        if not 0 < self.prob <= 1:
            raise ValueError(f'cut_mix.prob={self.prob} must be above 0 and at most 1; cut_mix=None switches it off')


class _DynamicMutual:
    """What DMT adds to a segmentor: the confidence's way to every ``DynamicMutualLoss`` of its heads, and CutMix."""

    decode_head: nn.Module

    def __init__(self, *args: Any, cut_mix: Mapping | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cut_mix = None if cut_mix is None else CutMixSettings(**cut_mix)
        self._dynamic_losses: list[DynamicMutualLoss] = []
        for name in ('decode_head', 'auxiliary_head'):
            heads = getattr(self, name, None)
            for head in heads if isinstance(heads, nn.ModuleList) else [heads]:
                if head is not None:
                    self._dynamic_losses += _losses_of(head, f'{name} {type(head).__name__}')
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
        """The dynamic loss of the head that predicts."""
        return next(module for module in self._final_head.modules() if isinstance(module, DynamicMutualLoss))

    @contextmanager
    def _confidence(self, confidence: Tensor | None) -> Iterator[None]:
        for loss in self._dynamic_losses:
            loss.confidence, loss.statistics = confidence, None
        try:
            yield
        finally:
            for loss in self._dynamic_losses:
                loss.confidence = None

    def loss(self, inputs: Tensor, data_samples: list) -> dict:
        """Losses of a batch; with confidences, also the figures of its pseudo-labeled pixels for the log."""
        confidence = stack_confidence(data_samples)
        if self.cut_mix is not None and confidence is not None:
            inputs, data_samples, confidence = self._mix(self.cut_mix, inputs, data_samples, confidence)
        with self._confidence(confidence):
            losses = super().loss(inputs, data_samples)  # type: ignore[misc]
        statistics = self.dynamic_loss.statistics
        return losses if statistics is None else {**losses, **statistics._asdict()}

    @staticmethod
    def _mix(settings: CutMixSettings, inputs: Tensor, data_samples: list, confidence: Tensor) -> tuple:
        """The batch with its pseudo-labeled images mixed among each other; samples and tensors given are left alone."""
        pseudo = (confidence < HUMAN).flatten(1).any(1).nonzero()[:, 0].tolist()
        height, width = inputs.shape[-2:]
        pastes = draw_pastes(pseudo, height, width, settings.area, settings.prob)
        if not pastes:
            return inputs, data_samples, confidence
        mixed = [sample.clone() for sample in data_samples]
        for name in data_samples[0].keys():  # noqa: SIM118 (a sample is no dict)
            fields = [sample.get(name) for sample in data_samples]
            # The confidence is mixed once it is padded. Maps of other sizes belong to no pixels of the batch.
            if name != 'gt_confidence' and all(
                isinstance(field, PixelData) and field.data.shape[-2:] == inputs.shape[-2:] for field in fields
            ):
                values = paste(torch.stack([field.data for field in fields]), pastes)
                for sample, value in zip(mixed, values, strict=True):
                    sample.set_field(PixelData(data=value), name, dtype=PixelData)
        return paste(inputs, pastes), mixed, paste(confidence, pastes)


def _losses_of(head: nn.Module, owner: str) -> list[DynamicMutualLoss]:
    """Dynamic losses of a head that can be served; an error that says why for one that cannot."""
    if not isinstance(head, BaseDecodeHead):
        raise ValueError(f'DMT cannot serve {owner}: it is not built on BaseDecodeHead, its loss matches whole masks')
    losses = [module for module in head.modules() if isinstance(module, DynamicMutualLoss)]
    if isinstance(head, PointHead):
        raise ValueError(f'DMT cannot serve {owner}: it computes its loss at sampled points, not at every pixel')
    if losses and isinstance(head, STDCHead):
        raise ValueError(f'DMT cannot serve {owner}: it learns boundaries, not classes; leave it its own losses')
    if losses and head.out_channels != head.num_classes:
        raise ValueError(
            f'DMT cannot serve {owner}: it has out_channels={head.out_channels} for {head.num_classes} classes; '
            'DynamicMutualLoss needs one channel a class'
        )
    for loss in losses:
        loss.owner = owner
        loss.check_classes(head.num_classes)
    return losses


@MODELS.register_module()
class DMTEncoderDecoder(_DynamicMutual, EncoderDecoder):
    """``EncoderDecoder`` for DMT: its arguments and one more, same state dict, same predictions.

    At least the decode head must have a ``DynamicMutualLoss``. Labels come with their confidence in
    ``gt_confidence`` of the data samples, float32 [1, H, W], 2.0 where a human labeled the pixel.

    Args:
        cut_mix: Arguments of :class:`CutMixSettings`, to mix the pseudo-labeled images of a training batch among each
            other before the model sees them; None for no mixing.
        args: Arguments of ``EncoderDecoder``.
        kwargs: Likewise.

    Raises:
        ValueError: if a head cannot be served, saying which and why, or if an argument of ``cut_mix`` is out of range.
    """


@MODELS.register_module()
class DMTCascadeEncoderDecoder(_DynamicMutual, CascadeEncoderDecoder):
    """``CascadeEncoderDecoder`` for DMT, see :class:`DMTEncoderDecoder`."""

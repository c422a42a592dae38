"""Online self-training."""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from torch import Tensor

from mmdmt.core.batch_norm import frozen_batch_norm
from mmdmt.methods.base import IGNORED, SemiSupervised, View, joined
from mmdmt.methods.networks import features_given, no_gradient


@MODELS.register_module()
class OnlineST(SemiSupervised):
    """Train on the student's own confident labels of each batch (Online ST, Tab. 7 of arXiv 2004.08514).

    With ``p`` the soft-max of the student on an unlabeled image, a pixel gets the label ``argmax p`` where
    ``max p > threshold``; elsewhere it is ignored. Then the losses of the stock model are those of one batch of labeled
    and unlabeled images. Labels come from the features of the same forward pass, in training mode; only the heads run
    twice.

    Args:
        model: Config of a stock segmentor.
        threshold: Confidence above which a pixel is labeled, in [0, 1).

    Raises:
        UserError: as :class:`SemiSupervised`, or a threshold outside [0, 1).
    """

    tasks = ('segmentation',)

    def __init__(self, model: Mapping, threshold: float = 0.9) -> None:
        super().__init__(model)
        self._check_range('in [0, 1)', threshold=threshold)
        self.threshold = threshold

    def loss(self, labeled: View, weak: View) -> dict[str, Tensor]:  # type: ignore[override]
        """Compute the losses of the labeled images and of the images that the student labels."""
        images = joined(labeled, weak)
        with features_given(self.student, self.student.extract_feat(images)):
            label = self._label(images)[len(labeled.images) :]
            label = torch.where(weak.valid, label, IGNORED)
            both = View(images, [*map(_without_confidence, labeled.samples), *_with_labels(weak.samples, label)])
            losses = self.supervised_loss(both)
        return {**losses, 'sure': (label != IGNORED).float().mean()}

    def _label(self, images: Tensor) -> Tensor:
        """Label images whose features the student has: int64 [N, H, W]."""
        with no_gradient(), frozen_batch_norm(self.student):
            confidence, label = self.logits(self.student, images).float().softmax(1).max(1)
        return torch.where(confidence > self.threshold, label, IGNORED)


def _without_confidence(sample: Any) -> Any:
    """The same sample for a ``DMTEncoderDecoder``, which would ask for the confidence of all images or of none."""
    sample = sample.new()
    sample.pop('gt_confidence', None)
    return sample


def _with_labels(samples: list, label: Tensor) -> list:
    """Copies of data samples with these label maps [N, H, W]."""
    labeled = [sample.new() for sample in samples]
    for sample, own in zip(labeled, label, strict=True):
        sample.set_data(dict(gt_sem_seg=PixelData(data=own[None])))
    return labeled

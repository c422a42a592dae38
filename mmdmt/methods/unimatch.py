"""UniMatch, versions 1 and 2, and FixMatch for segmentation."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
from mmengine.registry import MODELS
from torch import Tensor

from mmdmt.core.batch_norm import evaluating
from mmdmt.core.consistency import masked_cross_entropy
from mmdmt.core.cutmix import draw_small_boxes, mix_boxes
from mmdmt.core.transfer import to_device
from mmdmt.methods.base import SemiSupervised, View, joined, others
from mmdmt.methods.networks import features_given, map_features

FeatureDropout = Literal['none', 'plain', 'complementary']
DROPOUTS = ('none', 'plain', 'complementary')
Teacher = Literal['self', 'average']
TEACHERS = ('self', 'average')


@MODELS.register_module()
class UniMatch(SemiSupervised):
    """Learn on strong views, and on perturbed features, what a teacher is sure of on the weak view.

    UniMatch (arXiv 2208.09910) is the default: two strong views, ``plain`` feature dropout, the student as its own
    teacher. UniMatch V2 (arXiv 2410.10777) is ``feature_dropout='complementary', teacher='average'``. FixMatch for
    segmentation is ``strong_views=1, feature_dropout='none'``. For each view of an unlabeled image::

        L    = sum over valid pixels of 1[confidence >= threshold] * CE(view, label) / number of valid pixels
        loss = (CE(labeled) + L_u) / 2
        L_u  = mean of L over strong views                                   none, complementary
        L_u  = (mean of L over strong views) / 2 + L(dropped features) / 2   plain

    Half of the strong views get a box of another image of the batch, with its label, confidence and padding. The
    ``average`` teacher labels in evaluation mode. With ``self``, the student labels in training mode, and in evaluation
    mode what a box brings. ``plain`` drops half of the channels of all features of the weak view. ``complementary``
    multiplies those of the first strong view by a mask ``d`` of 0 and 2 by channel, those of the second one by
    ``2 - d``; half of the images keep their features. Heads see labeled and unlabeled features one after the other, so
    that any head can be used; the public code concatenates them.

    Args:
        model: Config of a stock segmentor.
        threshold: Confidence from which a label is learned, in [0, 1].
        strong_views: 1 or 2.
        feature_dropout: ``none``, ``plain`` or ``complementary``.
        teacher: ``self`` or ``average``; an average is tested.
        teacher_momentum: See :class:`SemiSupervised`; for ``average`` only.
        box_prob: Probability that a strong view gets a box, in [0, 1].

    Raises:
        UserError: as :class:`SemiSupervised`, an argument out of its range, or a batch with one unlabeled image.
    """

    tasks = ('segmentation',)

    def __init__(
        self,
        model: Mapping,
        threshold: float = 0.95,
        strong_views: int = 2,
        feature_dropout: FeatureDropout = 'plain',
        teacher: Teacher = 'self',
        teacher_momentum: float = 0.996,
        box_prob: float = 0.5,
    ) -> None:
        super().__init__(model, teacher_momentum if teacher == 'average' else None)
        self._check_range('in [0, 1]', threshold=threshold)
        self._check(strong_views in (1, 2), strong_views=strong_views, allowed='1 or 2')
        self._check(feature_dropout in DROPOUTS, feature_dropout=feature_dropout, allowed=f'one of {DROPOUTS}')
        self._check(teacher in TEACHERS, teacher=teacher, allowed=f'one of {TEACHERS}')
        self._check_range('in [0, 1]', box_prob=box_prob)
        complementary = feature_dropout == 'complementary'
        self._check(strong_views == 2 or not complementary, strong_views=strong_views, allowed='2 for complementary')
        self.threshold, self.strong_views, self.feature_dropout = threshold, strong_views, feature_dropout
        self.box_prob = box_prob

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the views that ``loss`` needs."""
        return super().views[: 2 + self.strong_views]

    def loss(  # type: ignore[override]
        self, labeled: View, weak: View, strong: View, strong_again: View | None = None
    ) -> dict[str, Tensor]:
        """Compute the losses of a step; ``sure`` is the share of the weak view's pixels that are learned."""
        losses, label, other_label = self._weak(labeled, weak)
        views = [view.images for view in (strong, strong_again) if view is not None]
        boxed = [self._with_boxes(images, label, other_label) for images in views]
        logits = self._strong_logits([images for images, _ in boxed])
        learned = [self._learn(own, target) for own, (_, target) in zip(logits, boxed, strict=True)]
        weight = 0.25 if 'loss_dropped' in losses else 0.5
        return {
            **losses,
            'loss_strong': weight * torch.stack(learned).mean(),
            'sure': (label.confidence >= self.threshold).float().mean(),
        }

    def _weak(self, labeled: View, weak: View) -> tuple[dict[str, Tensor], '_Label', '_Label']:
        """Losses on labeled images and dropped features; labels of the weak view, and those that boxes bring."""
        labeling = self.student if self.teacher is None else self.teacher
        with evaluating(self.student):
            other_label = self._label(self.frozen_logits(labeling, weak), weak)
        plain = self.feature_dropout == 'plain'
        if self.teacher is not None and not plain:
            return self.supervised_loss(labeled, 0.5), other_label, other_label
        number = len(labeled.images)
        # One pass of the backbone: batch norm normalizes labeled and unlabeled images together.
        features = self.student.extract_feat(joined(labeled, weak))
        of_weak = map_features(features, lambda values: values[number:])
        with features_given(self.student, map_features(features, lambda values: values[:number])):
            losses = self.supervised_loss(labeled, 0.5)
        label = other_label
        if self.teacher is None:
            with features_given(self.student, of_weak):
                label = self._label(self.frozen_logits(self.student, weak), weak)
        if plain:
            with features_given(self.student, map_features(of_weak, _drop)):
                losses['loss_dropped'] = 0.25 * self._learn(self.logits(self.student, weak), label)
        return losses, label, other_label

    def _label(self, logits: Tensor, view: View) -> '_Label':
        confidence, label = logits.softmax(1).max(1)
        return _Label(label, confidence, view.valid)

    def _with_boxes(self, images: Tensor, label: '_Label', other_label: '_Label') -> tuple[Tensor, '_Label']:
        """Put boxes of other images into images and labels."""
        number, _, height, width = images.shape
        mask = to_device(draw_small_boxes(number, height, width, self.box_prob), images.device)
        mixed = [mix_boxes(own, others(other), mask) for own, other in zip(label, other_label, strict=True)]
        return mix_boxes(images, others(images), mask), _Label(*mixed)

    def _strong_logits(self, views: list[Tensor]) -> list[Tensor]:
        """Logits of the strong views, from one pass of the student."""
        images, number = torch.cat(views), len(views[0])
        features = self.student.extract_feat(images)
        if self.feature_dropout == 'complementary':
            features = map_features(features, _complementary(number))
        with features_given(self.student, features):
            return list(self.logits(self.student, images).split(number))

    def _learn(self, logits: Tensor, label: '_Label') -> Tensor:
        return masked_cross_entropy(logits, label.label, label.confidence >= self.threshold, label.valid, self.average)


class _Label(NamedTuple):
    """Labels of pixels, int64, with their confidence and whether the pixel is no padding: [N, H, W] each."""

    label: Tensor
    confidence: Tensor
    valid: Tensor


def _drop(features: Tensor) -> Tensor:
    """Set half of the channels [N, C, ...] of each image to 0 and double the others."""
    mask = torch.empty(features.shape[:2], device=features.device).bernoulli_(0.5) * 2
    return features * _by_channel(mask, features)


def _complementary(number: int) -> Callable[[Tensor], Tensor]:
    """A change of the features of two views of ``number`` images: masks ``d`` and ``2 - d``, equal at all levels."""
    untouched = torch.randperm(number)[: number // 2]
    masks: dict[int, Tensor] = {}

    def change(features: Tensor) -> Tensor:
        channels = features.shape[1]
        if channels not in masks:
            first = torch.empty(number, channels, device=features.device).bernoulli_(0.5) * 2
            first.index_fill_(0, to_device(untouched, features.device), 1.0)
            masks[channels] = torch.cat([first, 2 - first])
        return features * _by_channel(masks[channels], features)

    return change


def _by_channel(mask: Tensor, features: Tensor) -> Tensor:
    return mask.to(features.dtype).view(*mask.shape, *[1] * (features.ndim - 2))

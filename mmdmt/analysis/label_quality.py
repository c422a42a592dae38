"""Measures pseudo labels against true labels, and how well a weight separates right labels from wrong ones.

Histograms count everything image by image, so the number of images does not affect memory.
Notation as in :mod:`mmdmt.core.dynamic_weight`.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmdmt.core.confidence import CODE_MAX, decode
from mmdmt.core.ranking import IGNORED, ClassHistogram

CONFIDENCE_EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)
"""Edges of the confidence bins; the last bin includes 1."""

CASES = ('agreement', 'teacher wins', 'student wins')

SCORE_MIN, SCORE_MAX = 2.0**-40, 2.0**4
_MANTISSA_BITS = 15


class Prediction(NamedTuple):
    """A student's prediction for the pixels that a teacher labeled; tensors of one shape, without gradient.

    ``probability``: ``p_B(y_A)``, float; ``label``: its argmax ``y_B``, integer; ``confidence``: ``c_B``, float.
    """

    probability: Tensor
    label: Tensor
    confidence: Tensor

    @classmethod
    def of(cls, logits: Tensor, teacher_label: Tensor) -> 'Prediction':
        """Compute in float32 from student logits [N, C, ...] and the teacher's classes, int64 [N, ...]."""
        probability = logits.detach().float().softmax(1)
        confidence, label = probability.max(1)
        return cls(probability.gather(1, teacher_label.unsqueeze(1)).squeeze(1), label, confidence)


def auc(right: Tensor, wrong: Tensor) -> float:
    """Area under the ROC curve of a score that separates right from wrong items, from its histograms.

    It is the probability that a right item scores higher than a wrong one; ties (one bin) count one half.

    Args:
        right: Number of right items with each score, integer [bins], by increasing score.
        wrong: The same for wrong items.

    Returns:
        In [0, 1]; NaN if there is no right or no wrong item.
    """
    right, wrong = right.double(), wrong.double()
    below = wrong.cumsum(0) - wrong
    pairs = right.sum() * wrong.sum()
    return float((right * (below + wrong / 2)).sum() / pairs) if pairs > 0 else float('nan')


class ScoreHistogram:
    """Counts of the scores of right and wrong items, in bins of constant relative width (2**-15).

    Scores are clamped to [2**-40, 16], so all smaller scores count as one value.
    """

    def __init__(self) -> None:
        # The bits of positive floats have the order of the floats: sign and exponent, then the mantissa (15 bits kept).
        self._shift = 23 - _MANTISSA_BITS
        low, high = torch.tensor([SCORE_MIN, SCORE_MAX]).view(torch.int32).tolist()
        self._offset = low >> self._shift
        self.counts = torch.zeros(2, (high >> self._shift) - self._offset + 1, dtype=torch.int64)

    def update(self, score: Tensor, right: Tensor) -> None:
        """Count items: ``score`` float [n], not negative; ``right`` bool [n].

        Raises:
            ValueError: if a score is negative or NaN.
        """
        if not bool((score >= 0).all()):
            raise ValueError('a score is negative or NaN')
        bits = score.float().clamp(SCORE_MIN, SCORE_MAX).contiguous().view(torch.int32) >> self._shift
        size = self.counts.shape[1]
        index = (bits - self._offset).long() + size * right.long()
        self.counts += torch.bincount(index, minlength=2 * size).view(2, size)

    def auc(self) -> float:
        """How well the score separates right from wrong items, see :func:`auc`."""
        return auc(self.counts[1], self.counts[0])


def by_confidence(histogram: ClassHistogram) -> Tensor:
    """Numbers of labels of all classes in each bin of ``CONFIDENCE_EDGES``, float64 [bins]."""
    edges = torch.tensor(CONFIDENCE_EDGES[1:-1])
    index = torch.bucketize(decode(torch.arange(CODE_MAX + 1)), edges, right=True)
    return torch.zeros(len(edges) + 1, dtype=torch.float64).index_add_(0, index, histogram.counts.sum(0).double())


class LabelQuality:
    """Figures about the pseudo labels of one teacher and the weights that one student gives them.

    Pixels with true label 255 are ignored. Ranking figures cover all other pixels. Weight figures cover the selected
    pixels, whose code is at least the threshold of their class.

    Args:
        num_classes: 1..255.
        thresholds: Lowest confidence code of a selected label of each class, integer [num_classes]
            (``ClassHistogram.thresholds``); default: all labels are selected.

    Raises:
        ValueError: if ``thresholds`` has another number of classes.
    """

    def __init__(self, num_classes: int, thresholds: Tensor | None = None) -> None:
        if thresholds is not None and thresholds.shape != (num_classes,):
            raise ValueError(f'thresholds must have shape [{num_classes}]; got {list(thresholds.shape)}')
        self.num_classes = num_classes
        self.thresholds = torch.zeros(num_classes, dtype=torch.int64) if thresholds is None else thresholds.long()
        self.labels, self.right_labels = ClassHistogram(num_classes), ClassHistogram(num_classes)
        # Selected pixels, by [wrong, right] and class.
        self.count = torch.zeros(2, num_classes, dtype=torch.float64)
        self.weight = torch.zeros(2, num_classes, dtype=torch.float64)
        # By case: [pixels, teacher is right, student is right].
        self.cases = torch.zeros(len(CASES), 3, dtype=torch.float64)
        self.scores = {name: ScoreHistogram() for name in ('weight', 'weight * confidence', 'p_B')}

    def update(self, true_label: Tensor, label: Tensor, code: Tensor, student: Prediction, weight: Tensor) -> None:
        """Count the pixels of an image.

        Args:
            true_label: Integer, any shape; 255 is ignored.
            label: The teacher's class, integer, same shape.
            code: The teacher's confidence code 0..65535 (``confidence.encode``), integer, same shape.
            student: The student's prediction; tensors of the same shape.
            weight: Weight of each label, float, same shape, not negative; ignored for labels that are not selected.

        Raises:
            ValueError: if shapes differ, a class or a code does not exist, or a weight is negative.
        """
        for name, tensor in (('label', label), ('code', code), ('weight', weight), *student._asdict().items()):
            if tensor.shape != true_label.shape:
                raise ValueError(f'{name} {list(tensor.shape)} and true_label {list(true_label.shape)} must be alike')
        label, code, true_label = label.long(), code.long(), true_label.long()
        known, right = true_label != IGNORED, label == true_label
        self.labels.update(torch.where(known, label, IGNORED), code)
        self.right_labels.update(torch.where(known & right, label, IGNORED), code)
        selected = known & (code >= self.thresholds[label])
        self._update_weights(true_label[selected], label[selected], code[selected],
                             Prediction(*(tensor[selected] for tensor in student)), weight[selected])  # fmt: skip

    def _update_weights(
        self, true_label: Tensor, label: Tensor, code: Tensor, student: Prediction, weight: Tensor
    ) -> None:
        right, confidence = label == true_label, decode(code)
        index = label + self.num_classes * right.long()
        self.count.view(-1).scatter_add_(0, index, torch.ones(len(index), dtype=torch.float64))
        self.weight.view(-1).scatter_add_(0, index, weight.double())
        disagree = student.label != label
        case = disagree.long() + (disagree & (confidence < student.confidence)).long()
        seen = torch.stack([torch.ones_like(right), right, student.label == true_label], dim=1).double()
        self.cases.index_add_(0, case, seen)
        for name, score in zip(self.scores, (weight, weight * confidence, student.probability), strict=True):
            self.scores[name].update(score, right)

    def accuracy(self, thresholds: Tensor | None = None) -> float:
        """Share of right labels among those whose code is at least the threshold of their class; NaN for none.

        Args:
            thresholds: Integer [num_classes]; default: those of the selected labels.
        """
        at_least = self._at_least(self.thresholds if thresholds is None else thresholds.long())
        return _ratio((self.right_labels.counts * at_least).sum(), (self.labels.counts * at_least).sum())

    def confidence_auc(self) -> float:
        """How well the teacher's confidence alone separates right from wrong selected labels."""
        at_least = self._at_least(self.thresholds)
        right = (self.right_labels.counts * at_least).sum(0)
        return auc(right, (self.labels.counts * at_least).sum(0) - right)

    def error_by_confidence(self) -> list[tuple[float, float]]:
        """For each bin of ``CONFIDENCE_EDGES``: its share of all pixels, and its share of wrong labels."""
        number, right = (by_confidence(histogram) for histogram in (self.labels, self.right_labels))
        return [(_ratio(n, number.sum()), _ratio(n - r, n)) for n, r in zip(number, right, strict=True)]

    def figures(self) -> dict[str, Any]:
        """All figures except the accuracies by ratio, as plain numbers (NaN if nothing was counted)."""
        wrong_weight, right_weight = (_ratio(w.sum(), n.sum()) for w, n in zip(self.weight, self.count, strict=True))
        return dict(
            accuracy=self.accuracy(),
            accuracy_all=self.accuracy(torch.zeros(self.num_classes)),
            mean_weight=dict(right=right_weight, wrong=wrong_weight),
            auc=dict(confidence=self.confidence_auc(), **{name: score.auc() for name, score in self.scores.items()}),
            class_weight_mass=[_ratio(*pair) for pair in zip(self.weight.sum(0), self.count.sum(0), strict=True)],
            class_accuracy=[_ratio(*pair) for pair in zip(self.count[1], self.count.sum(0), strict=True)],
            error_by_confidence=self.error_by_confidence(),
            cases={
                name: dict(
                    share=_ratio(row[0], self.cases[:, 0].sum()),
                    teacher_right=_ratio(row[1], row[0]),
                    student_right=_ratio(row[2], row[0]),
                )
                for name, row in zip(CASES, self.cases, strict=True)
            },
        )

    def _at_least(self, thresholds: Tensor) -> Tensor:
        return torch.arange(CODE_MAX + 1) >= thresholds[:, None]


def _ratio(part: Tensor, whole: Tensor) -> float:
    return float(part) / float(whole) if whole > 0 else float('nan')

"""When the labels of a class, or the weights of the labels, have collapsed: one definition for alarms and reports."""

from collections.abc import Sequence

LOST = 0.01
"""Share of labels, as a part of that in the labeled images, below which a class counts as lost.

Few labeled images show a class several times too often or too rarely; a factor of 100 is not explained by that.
"""
SHRUNK = 0.1
"""Share of labels, as a part of that in the labels before, below which a class counts as lost.

The images and the way to select labels are the same, and only the teacher has changed: nothing is drawn by chance.
"""
LOW_WEIGHT = 0.02
"""Mean weight of pseudo labels below which they teach next to nothing.

They then add 2 % to a gradient of labeled and pseudo-labeled images in equal parts, less than its noise from step to
step.
"""
WINDOW, AT_FIRST = 0.1, 0.2
"""Shares of a phase: over how many steps a mean weight is taken, and how many are not judged.

A model that starts anew agrees with no label at first, and its weights rise as it learns.
"""


def lost_classes(labels: Sequence[int], reference: Sequence[int], least: float) -> list[int]:
    """Classes whose share of the labels is below ``least`` times their share of a reference.

    Args:
        labels: Number of labels of each class.
        reference: Number of labels of each class that the labels are compared with.
        least: ``LOST`` or ``SHRUNK``.

    Returns:
        Indices of the classes; none of a class that the reference lacks.

    Example:
        >>> lost_classes([990, 10, 0], [50, 40, 10], LOST)
        [2]
        >>> lost_classes([990, 10, 0], [50, 40, 10], SHRUNK)
        [1, 2]
    """
    total, whole = max(1, sum(labels)), max(1, sum(reference))
    return [
        index
        for index, (found, expected) in enumerate(zip(labels, reference, strict=False))
        if expected and found / total < least * expected / whole
    ]

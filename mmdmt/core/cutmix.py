"""CutMix of pseudo-labeled images, of image, label and confidence alike (arXiv 1905.04899, 1906.01916)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor


class Paste(NamedTuple):
    """The rectangle ``[..., rows, columns]`` of image ``source`` of a batch goes into image ``target``."""

    target: int
    source: int
    rows: slice
    columns: slice


def draw_pastes(images: Sequence[int], height: int, width: int, area: float, prob: float = 1.0) -> list[Paste]:
    """Draw for each image with probability ``prob`` the rectangle that it gets from the next one in a random circle.

    A rectangle covers the share ``area`` of the image, up to rounding; the ratio of its sides is drawn between that of
    a bar of full height and that of one of full width (log-uniformly), its place uniformly. NumPy's global generator
    draws.

    Args:
        images: indices in the batch of those that may be mixed; fewer than two give no paste.
        height: rows of an image.
        width: columns of an image.
        area: share of the image, in (0, 1).
        prob: share of the images that get a rectangle, in (0, 1].

    Example:
        >>> np.random.seed(0)
        >>> pastes = draw_pastes([0, 1], height=8, width=8, area=0.5)
        >>> sorted((paste.target, paste.source) for paste in pastes)
        [(0, 1), (1, 0)]
        >>> rows, columns = pastes[0].rows, pastes[0].columns
        >>> (rows.stop - rows.start) * (columns.stop - columns.start)  # half of 64, up to rounding
        30
    """
    if len(images) < 2:
        return []
    order = [images[position] for position in np.random.permutation(len(images))]
    pastes = []
    for target, source in zip(order, [*order[1:], order[0]], strict=True):
        share = math.exp(np.random.uniform(math.log(area), 0.0))  # of the height; area / share of the width
        rows, columns = max(1, round(share * height)), max(1, round(area / share * width))
        top, left = (np.random.randint(full - part + 1) for full, part in ((height, rows), (width, columns)))
        if np.random.uniform() < prob:
            pastes.append(Paste(target, source, slice(top, top + rows), slice(left, left + columns)))
    return pastes


def paste(values: Tensor, pastes: Sequence[Paste]) -> Tensor:
    """A copy of ``values`` [N, ..., H, W] with the rectangles of the (unmixed) sources in their targets.

    Example:
        >>> images = torch.tensor([[[1, 1], [1, 1]], [[2, 2], [2, 2]]])
        >>> paste(images, [Paste(target=0, source=1, rows=slice(0, 1), columns=slice(0, 2))]).tolist()
        [[[2, 2], [1, 1]], [[2, 2], [2, 2]]]
    """
    result = values.clone()
    for target, source, rows, columns in pastes:
        result[target, ..., rows, columns] = values[source, ..., rows, columns]
    return result

"""CutMix of pseudo-labeled images, their labels and their confidences (arXiv 1905.04899, 1906.01916)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor


class Paste(NamedTuple):
    """Image ``target`` of a batch gets the rectangle ``[..., rows, columns]`` of image ``source``."""

    target: int
    source: int
    rows: slice
    columns: slice


def draw_pastes(images: Sequence[int], height: int, width: int, area: float, prob: float = 1.0) -> list[Paste]:
    """Draw the rectangle that each image gets, with probability ``prob``, from the next image in a random circle.

    A rectangle covers the share ``area`` of the image, up to rounding. Its aspect ratio is log-uniform, from a bar of
    full height to one of full width; its place is uniform. NumPy's global generator draws.

    Args:
        images: batch indices of the images that may be mixed; fewer than two give no paste.
        height: rows of an image.
        width: columns of an image.
        area: share of the image, in (0, 1).
        prob: probability that an image gets a rectangle, in (0, 1].

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
        share = math.exp(np.random.uniform(math.log(area), 0.0))  # of the height; the width's is area / share
        rows, columns = max(1, round(share * height)), max(1, round(area / share * width))
        top, left = (np.random.randint(full - part + 1) for full, part in ((height, rows), (width, columns)))
        if np.random.uniform() < prob:
            pastes.append(Paste(target, source, slice(top, top + rows), slice(left, left + columns)))
    return pastes


def paste(values: Tensor, pastes: Sequence[Paste]) -> Tensor:
    """Copy ``values`` [N, ..., H, W] and paste the rectangles of the (unmixed) sources into their targets.

    Example:
        >>> images = torch.tensor([[[1, 1], [1, 1]], [[2, 2], [2, 2]]])
        >>> paste(images, [Paste(target=0, source=1, rows=slice(0, 1), columns=slice(0, 2))]).tolist()
        [[[2, 2], [1, 1]], [[2, 2], [2, 2]]]
    """
    result = values.clone()
    for target, source, rows, columns in pastes:
        result[target, ..., rows, columns] = values[source, ..., rows, columns]
    return result

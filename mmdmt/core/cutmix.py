"""Boxes that CutMix exchanges between the images of a batch (arXiv 1905.04899, 1906.01916)."""

import math

import numpy as np
import torch
from torch import Tensor


def draw_boxes(number: int, height: int, width: int, share: tuple[float, float] = (0.5, 0.5), boxes: int = 1) -> Tensor:
    """Draw a mask of boxes for each image (arXiv 1906.01916).

    A box covers a share ``s`` of the image, uniform in ``share``, up to rounding. It has ``s**v`` of the height, with
    v uniform in [0, 1], and ``s / s**v`` of the width; its place is uniform. With several boxes, each side is
    multiplied by ``sqrt(1 / boxes)``, and overlaps are outside again. NumPy's global generator draws.

    Returns:
        bool [number, height, width], True inside.

    Example:
        >>> np.random.seed(0)
        >>> mask = draw_boxes(1, 8, 8)
        >>> mask.any(2).sum().item() * mask.any(1).sum().item()  # a rectangle of about 32 of 64 pixels
        35
    """
    mask = torch.zeros(number, height, width, dtype=torch.bool)
    for image in mask:
        for _ in range(boxes):
            area = np.random.uniform(*share)
            part = area ** np.random.uniform()
            rows, columns = (
                min(full, max(1, round(side * full * math.sqrt(1 / boxes))))
                for side, full in ((part, height), (area / part, width))
            )
            top, left = np.random.randint(height - rows + 1), np.random.randint(width - columns + 1)
            image[top : top + rows, left : left + columns] ^= True
    return mask


def draw_small_boxes(
    number: int,
    height: int,
    width: int,
    prob: float = 0.5,
    share: tuple[float, float] = (0.02, 0.4),
    ratio: tuple[float, float] = (0.3, 1 / 0.3),
) -> Tensor:
    """Draw one box for an image with probability ``prob``, else none (UniMatch, arXiv 2208.09910).

    The box covers a share of the image, uniform in ``share``. Its height divided by its width is uniform in ``ratio``.
    Size and place are drawn again until the box is inside. NumPy's global generator draws.

    Returns:
        bool [number, height, width], True inside.

    Example:
        >>> draw_small_boxes(2, 8, 8, prob=0.0).any().item()
        False
    """
    mask = torch.zeros(number, height, width, dtype=torch.bool)
    for image in mask:
        inside = np.random.uniform() >= prob
        while not inside:
            area, aspect = np.random.uniform(*share) * height * width, np.random.uniform(*ratio)
            rows, columns = (max(1, round(math.sqrt(value))) for value in (area * aspect, area / aspect))
            top, left = np.random.randint(height), np.random.randint(width)
            inside = top + rows <= height and left + columns <= width
            if inside:
                image[top : top + rows, left : left + columns] = True
    return mask


def mix_boxes(values: Tensor, others: Tensor, mask: Tensor) -> Tensor:
    """Take ``others`` inside the boxes of a mask and ``values`` outside.

    Args:
        values: [N, H, W] or [N, C, H, W].
        others: the same shape.
        mask: bool [N, H, W].

    Example:
        >>> mix_boxes(torch.tensor([[[1, 1]]]), torch.tensor([[[2, 2]]]), torch.tensor([[[True, False]]])).tolist()
        [[[2, 1]]]
    """
    return torch.where(mask if values.ndim == mask.ndim else mask.unsqueeze(1), others, values)

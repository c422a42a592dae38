"""Mixup of images, labels and dynamic weights (arXiv 2004.08514, classification; mixup: arXiv 1710.09412)."""

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

Weighting = Literal['image', 'term']
WEIGHTINGS = ('image', 'term')


class Mixed(NamedTuple):
    """A mixed batch: ``images`` [N, ...] and the weighted ``target``, float32 [N, C], of ``-sum(target * log p)``."""

    images: Tensor
    target: Tensor


def draw_lam(alpha: float, dominant: bool) -> float:
    """Draw the share of the first image in each mixed pair from Beta(alpha, alpha), by NumPy's global generator.

    Args:
        alpha: > 0.
        dominant: return ``max(lam, 1 - lam)``, so that the first image has the larger share.

    Example:
        >>> np.random.seed(0)
        >>> draw_lam(0.75, dominant=True) >= 0.5
        True
    """
    lam = float(np.random.beta(alpha, alpha))
    return max(lam, 1 - lam) if dominant else lam


def mix(values: Tensor, lam: float, partner: Tensor) -> Tensor:
    """Return ``lam * values + (1 - lam) * values[partner]`` over the first dimension; ``partner`` is int64 [N].

    Example:
        >>> mix(torch.tensor([0.0, 8.0]), 0.75, torch.tensor([1, 0]))
        tensor([2., 6.])
    """
    return lam * values + (1 - lam) * values[partner]


def mixup(
    images: Tensor, one_hot: Tensor, weight: Tensor, lam: float, partner: Tensor, weighting: Weighting = 'image'
) -> Mixed:
    """Mix each image, its label and its weight with those of its partner.

    An image has label ``y`` and weight ``w``, its partner ``y'`` and ``w'``. The weighted target of the mixed image is

    - 'image', as published: ``(lam w + (1 - lam) w') (lam y + (1 - lam) y')``; a rejected label (weight 0) regains
      weight through its partner;
    - 'term': ``lam w y + (1 - lam) w' y'``; a rejected label stays rejected.

    Args:
        images: [N, ...], any float dtype.
        one_hot: float [N, C], labels of the images.
        weight: float [N], their dynamic weights.
        lam: share of the image itself, in [0, 1].
        partner: int64 [N], the index of each image's partner.
        weighting: 'image' or 'term'.

    Raises:
        ValueError: an unknown weighting.

    Example:
        Two images have classes 0 and 1; the second one is rejected (weight 0).

        >>> images, one_hot, weight = torch.tensor([0.0, 8.0]), torch.eye(2), torch.tensor([1.0, 0.0])
        >>> partner = torch.tensor([1, 0])
        >>> mixup(images, one_hot, weight, 0.75, partner).target
        tensor([[0.5625, 0.1875],
                [0.0625, 0.1875]])
        >>> mixup(images, one_hot, weight, 0.75, partner, 'term').target
        tensor([[0.7500, 0.0000],
                [0.2500, 0.0000]])
    """
    if weighting not in WEIGHTINGS:
        raise ValueError(f'weighting must be one of {WEIGHTINGS}; got {weighting!r}')
    if weighting == 'term':
        target = mix(one_hot * weight[:, None], lam, partner)
    else:
        target = mix(one_hot, lam, partner) * mix(weight, lam, partner)[:, None]
    return Mixed(mix(images, lam, partner), target)


def draw_partners(number: int, device: torch.device) -> Tensor:
    """Draw a random permutation of the images of a batch, int64 [number].

    Example:
        >>> sorted(draw_partners(3, torch.device('cpu')).tolist())
        [0, 1, 2]
    """
    return torch.randperm(number, device=device)

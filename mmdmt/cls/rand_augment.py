"""RandAugment of small images, with the ranges of the paper's experiments or with milder ones."""

from typing import Any

import mmcv
import numpy as np
from mmpretrain.datasets.transforms import Posterize, RandAugment
from mmpretrain.datasets.transforms.auto_augment import BaseAugTransform
from mmpretrain.registry import TRANSFORMS

from mmdmt.errors import UserError

LEVELS = 10
# Color of the published Cutout, RGB: about the mean of CIFAR-10.
CUTOUT_COLOR = (125, 123, 114)


def _both(**policy: Any) -> list[dict]:
    """The policy in both directions."""
    return [dict(policy, direction=direction) for direction in ('horizontal', 'vertical')]


# Magnitudes at level 0 and at level 10. An enhancement factor is 1 plus the magnitude: 0.28 at level 1, 1.9 at level
# 10. Translate is a share of the side: 10 to 100 of the 32 pixels, so that an image is blank from level 4 on.
PUBLISHED: list[dict[str, Any]] = [
    dict(type='AutoContrast'),
    dict(type='Equalize'),
    dict(type='Invert'),
    dict(type='Rotate', magnitude_range=(0, 30)),
    dict(type='PosterizeToFewBits', magnitude_range=(0, 4)),
    dict(type='Solarize', magnitude_range=(0, 256)),
    dict(type='AddAndSolarize', magnitude_range=(0, 110)),
    *(
        dict(type=kind, magnitude_range=(-0.9, 0.9), random_negative_prob=0.0)
        for kind in ('ColorTransform', 'Contrast', 'Brightness', 'Sharpness')
    ),
    *_both(type='Shear', magnitude_range=(0, 0.3), interpolation='nearest'),
    dict(type='Cutout', magnitude_range=(0, 40), pad_val=CUTOUT_COLOR),
    *_both(type='Translate', magnitude_range=(0, 100 / 32)),
]
# Magnitudes at level 1 and at level 10.
MILD: list[dict[str, Any]] = [
    dict(type='AutoContrast'),
    dict(type='Equalize'),
    dict(type='Invert'),
    dict(type='Rotate', magnitude_range=(3, 30)),
    dict(type='Posterize', magnitude_range=(8, 4)),
    dict(type='Solarize', magnitude_range=(230, 0)),
    dict(type='SolarizeAdd', magnitude_range=(11, 110)),
    *(
        dict(type=kind, magnitude_range=(0.09, 0.9))
        for kind in ('ColorTransform', 'Contrast', 'Brightness', 'Sharpness')
    ),
    *_both(type='Shear', magnitude_range=(0.03, 0.3)),
    *_both(type='Translate', magnitude_range=(0.03, 0.3)),
    dict(type='Cutout', magnitude_range=(2, 16)),
]
RANGES = {'published': PUBLISHED, 'mild': MILD}


@TRANSFORMS.register_module()
class SmallImageRandAugment(RandAugment):
    """Apply one of 16 operations at a random magnitude to an image, uint8 (H, W, 3) RGB.

    Args:
        ranges: ``published``: those of the paper's experiments, at a whole level from 1 to 10; what leaves the image is
            black. 9 % of the images become blank. ``mild``: those of mmpretrain, at any magnitude between the levels 1
            and 10; what leaves the image is gray.

    Raises:
        ValueError: ``ranges`` is neither.
    """

    def __init__(self, ranges: str = 'published') -> None:
        if ranges not in RANGES:
            raise UserError(f'SmallImageRandAugment: ranges must be one of {", ".join(RANGES)}, got {ranges!r}')
        self.ranges = ranges
        published = ranges == 'published'
        super().__init__(
            policies=[dict(policy, prob=1.0) for policy in RANGES[ranges]],
            num_policies=1,
            magnitude_level=LEVELS,
            magnitude_std=0.0 if published else 'inf',
            # With one number, Rotate fills the red channel only.
            hparams=dict(pad_val=(0, 0, 0) if published else (128, 128, 128)),
        )

    def transform(self, results: dict) -> dict | None:
        """Apply one operation."""
        if self.ranges == 'published':
            level = np.random.randint(1, LEVELS + 1)
            for operation in self.transforms:
                operation.magnitude_level = level
        return super().transform(results)


@TRANSFORMS.register_module()
class PosterizeToFewBits(Posterize):
    """Posterize to ``max(1, int(magnitude))`` bits; mmpretrain's ``Posterize`` rounds up."""

    def random_magnitude(self) -> int:
        """The number of bits."""
        return max(1, int(super().random_magnitude()))


@TRANSFORMS.register_module()
class AddAndSolarize(BaseAugTransform):
    """Add the magnitude to all values, at most 255, then invert those from 128 on.

    mmpretrain's ``SolarizeAdd`` adds it to values below 128 and inverts none.
    """

    def __init__(self, prob: float = 0.5, **kwargs: Any) -> None:
        super().__init__(prob=prob, random_negative_prob=0.0, **kwargs)

    def transform(self, results: dict) -> dict:
        """Change ``img``."""
        if not self.random_disable():
            image = results['img']
            brighter = np.minimum(image + self.random_magnitude(), 255).astype(image.dtype)
            results['img'] = mmcv.solarize(brighter, thr=128)
        return results

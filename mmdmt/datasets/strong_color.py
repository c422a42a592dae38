"""Strong changes of color."""

import cv2
import numpy as np
from mmcv.transforms.base import BaseTransform
from mmengine.registry import TRANSFORMS
from PIL import Image
from torchvision.transforms import ColorJitter

from mmdmt.errors import UserError


@TRANSFORMS.register_module()
class StrongColor(BaseTransform):
    """Change the colors of an image strongly, and never its geometry (UniMatch, arXiv 2208.09910).

    Color jitter, conversion to gray and Gaussian blur happen with a probability each, in this order.

    Args:
        jitter: Strength of brightness, contrast, saturation and hue, as torchvision's ``ColorJitter`` takes them.
        jitter_prob: Probability of color jitter.
        gray_prob: Probability of gray.
        blur_prob: Probability of blur.
        sigma: Range of the standard deviation of the blur, in pixels.

    Raises:
        UserError: if a probability is outside [0, 1].
    """

    def __init__(
        self,
        jitter: tuple[float, float, float, float] = (0.5, 0.5, 0.5, 0.25),
        jitter_prob: float = 0.8,
        gray_prob: float = 0.2,
        blur_prob: float = 0.5,
        sigma: tuple[float, float] = (0.1, 2.0),
    ) -> None:
        for name, prob in (('jitter_prob', jitter_prob), ('gray_prob', gray_prob), ('blur_prob', blur_prob)):
            if not 0 <= prob <= 1:
                raise UserError(f'StrongColor: {name}={prob} must be in [0, 1]')
        self.jitter = ColorJitter(*jitter)
        self.probs = (jitter_prob, gray_prob, blur_prob)
        self.sigma = sigma

    def transform(self, results: dict) -> dict:
        """Change ``img``, uint8 BGR [H, W, 3]."""
        jitter, gray, blur = (np.random.uniform() < prob for prob in self.probs)
        image = results['img']
        if jitter:
            image = np.asarray(self.jitter(Image.fromarray(image[..., ::-1])))[..., ::-1]
        if gray:
            image = cv2.cvtColor(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        if blur:
            image = cv2.GaussianBlur(np.ascontiguousarray(image), (0, 0), np.random.uniform(*self.sigma))
        results['img'] = np.ascontiguousarray(image)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(probs={self.probs}, jitter={self.jitter}, sigma={self.sigma})'

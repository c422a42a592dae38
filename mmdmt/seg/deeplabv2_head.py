"""The head of DeepLab-v2."""

from collections.abc import Sequence
from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class DeepLabV2Head(BaseDecodeHead):
    """Atrous spatial pyramid pooling of DeepLab-v2 (arXiv 1606.00915): the sum of dilated 3x3 classifiers.

    Args:
        dilations: Dilation of each branch. The published DMT code computes only ``(6, 12)``: a return inside its loop
            skips the other two.
        kwargs: Arguments of ``BaseDecodeHead``; ``in_channels`` and ``num_classes`` are required.

    Raises:
        ValueError: if ``dilations`` is empty.
    """

    def __init__(self, dilations: Sequence[int] = (6, 12, 18, 24), **kwargs: Any) -> None:
        if not dilations:
            raise ValueError('DeepLabV2Head: dilations must not be empty')
        kwargs.setdefault('init_cfg', dict(type='Normal', layer='Conv2d', std=0.01))
        super().__init__(channels=kwargs.pop('channels', 1), dropout_ratio=0, **kwargs)
        del self.conv_seg  # the branches are the classifiers
        self.dilations = tuple(dilations)
        self.branches = nn.ModuleList(
            nn.Conv2d(self.in_channels, self.out_channels, 3, padding=dilation, dilation=dilation)
            for dilation in dilations
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Compute logits [N, num_classes, H/8, W/8] from the backbone's feature maps."""
        features = self._transform_inputs(inputs)
        logits = self.branches[0](features)
        for branch in self.branches[1:]:
            logits = logits + branch(features)
        return logits

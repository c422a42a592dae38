"""Wide residual networks for small images."""

from collections.abc import Sequence

from mmcv.cnn import build_activation_layer, build_norm_layer
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from mmpretrain.registry import MODELS
from torch import Tensor, nn

STEM_CHANNELS = 16
STRIDES = (1, 2, 2)
"""Stride of the first block of each group; its length is the number of groups."""

NORM_CFG = dict(type='BN')
ACT_CFG = dict(type='ReLU', inplace=True)
INIT_CFG: list[dict] = [
    dict(type='Kaiming', layer='Conv2d', mode='fan_out', nonlinearity='relu', distribution='normal'),
    dict(type='Constant', layer='_BatchNorm', val=1),
]


@MODELS.register_module()
class WideResNet(BaseBackbone):
    """WRN-depth-width for small images (arXiv 1605.07146, Tab. 1).

    It has a 3x3 convolution to 16 channels; three groups of ``(depth - 4) / 6`` pre-activation basic blocks with 16, 32
    and 64 times ``width`` channels at a total stride of 1, 2 and 4; norm and activation. No convolution has a bias.

    Groups beyond the largest of ``out_indices`` get no gradient; nor does the last norm without index 2.

    Args:
        depth: Number of convolutions on the longest path, including the classifier: 10, 16, 22, 28, ...
        width: Widening factor, >= 1.
        in_channels: Channels of the image.
        drop_rate: Probability of dropout between the two convolutions of a block, in [0, 1).
        out_indices: Groups (0, 1, 2) whose output is returned, in that order. The last norm and activation are applied
            to the output of the last group; the others are sums of a block without activation.
        norm_cfg: Config of the norm layers.
        act_cfg: Config of the activations; may be in place.
        init_cfg: Config of the initialization.

    Raises:
        ValueError: if depth, width, in_channels, drop_rate or out_indices is out of range.
    """

    def __init__(
        self,
        depth: int = 28,
        width: int = 2,
        in_channels: int = 3,
        drop_rate: float = 0.0,
        out_indices: Sequence[int] = (2,),
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = ACT_CFG,
        init_cfg: dict | list[dict] | None = INIT_CFG,
    ) -> None:
        _check_arguments(depth, width, in_channels, drop_rate, out_indices)
        super().__init__(init_cfg)
        self.out_indices = tuple(out_indices)
        self.stem = _conv3x3(in_channels, STEM_CHANNELS)
        self.groups = nn.ModuleList()
        channels = STEM_CHANNELS
        for index, stride in enumerate(STRIDES):
            group_channels = STEM_CHANNELS * width * 2**index
            blocks = nn.Sequential()
            for block in range((depth - 4) // 6):
                block_stride = stride if block == 0 else 1
                blocks.append(PreActBlock(channels, group_channels, block_stride, drop_rate, norm_cfg, act_cfg))
                channels = group_channels
            self.groups.append(blocks)
        self.norm = build_norm_layer(norm_cfg, channels)[1]
        self.act = build_activation_layer(act_cfg)

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Compute feature maps of images [N, in_channels, H, W]: [N, 64 * width, H/4, W/4] for the last group.

        Groups 0 and 1 give 16 * width and 32 * width channels at H and H/2. Sides are rounded up.
        """
        features = self.stem(inputs)
        outputs = []
        for group in self.groups[: max(self.out_indices) + 1]:
            features = group(features)
            outputs.append(features)
        if len(outputs) == len(self.groups):
            outputs[-1] = self.act(self.norm(features))
        return tuple(outputs[index] for index in self.out_indices)


class PreActBlock(nn.Module):
    """Basic block with norm and activation before each of its two 3x3 convolutions (arXiv 1605.07146, Fig. 1a, 1d).

    If stride or channels change, the shortcut is a 1x1 convolution of the activated input; else it is the input.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride of the first convolution.
        drop_rate: Probability of dropout before the second convolution; 0 leaves it out.
        norm_cfg: Config of the norm layers.
        act_cfg: Config of the activations.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, drop_rate: float, norm_cfg: dict, act_cfg: dict
    ) -> None:
        super().__init__()
        self.norm1 = build_norm_layer(norm_cfg, in_channels)[1]
        self.act1 = build_activation_layer(act_cfg)
        self.conv1 = _conv3x3(in_channels, out_channels, stride)
        self.norm2 = build_norm_layer(norm_cfg, out_channels)[1]
        self.act2 = build_activation_layer(act_cfg)
        self.dropout = nn.Dropout(drop_rate) if drop_rate > 0 else None
        self.conv2 = _conv3x3(out_channels, out_channels)
        self.shortcut = None
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, out_channels, H/stride, W/stride] without changing the input."""
        # An in-place activation overwrites the new tensor that the norm returned, not the input of the shortcut.
        activated = self.act1(self.norm1(inputs))
        shortcut = inputs if self.shortcut is None else self.shortcut(activated)
        residual = self.act2(self.norm2(self.conv1(activated)))
        if self.dropout is not None:
            residual = self.dropout(residual)
        return shortcut + self.conv2(residual)


def _conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)


def _check_arguments(depth: int, width: int, in_channels: int, drop_rate: float, out_indices: Sequence[int]) -> None:
    if depth < 10 or depth % 6 != 4:
        raise ValueError(f'WideResNet: depth must be 6 n + 4 with n >= 1 (10, 16, 22, 28, ...); got {depth}')
    if width < 1:
        raise ValueError(f'WideResNet: width must be >= 1; got {width}')
    if in_channels < 1:
        raise ValueError(f'WideResNet: in_channels must be >= 1; got {in_channels}')
    if not 0 <= drop_rate < 1:
        raise ValueError(f'WideResNet: drop_rate must be in [0, 1); got {drop_rate}')
    groups = tuple(range(len(STRIDES)))
    if not out_indices or any(index not in groups for index in out_indices):
        raise ValueError(f'WideResNet: out_indices must be one or more of {groups}; got {out_indices!r}')

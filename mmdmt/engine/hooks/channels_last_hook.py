"""A hook that changes the memory layout of weights for faster convolutions."""

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep the weights, and with them all feature maps, in channels-last order while training.

    It only affects speed: depth-wise convolutions are faster on CPUs, all convolutions in mixed precision on GPUs.
    """

    def before_train(self, runner: Runner) -> None:
        """Change the layout of the weights, in place."""
        # A convolution's output takes the layout of its weight, so the images need not be changed.
        runner.model.to(memory_format=torch.channels_last)

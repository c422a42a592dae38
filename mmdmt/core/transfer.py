"""Copies between CPU and GPU."""

import torch
from torch import Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the CPU without waiting for what the device still has to compute.

    An ordinary copy waits, so a step that makes one in its middle holds up the CPU. CUDA has read ordinary memory when
    the call returns, so ``values`` may change or go at once; pinned memory, which it reads later, must stay.

    Example:
        >>> to_device(torch.arange(3), torch.device('cpu'))
        tensor([0, 1, 2])
    """
    return values.to(device, non_blocking=True)

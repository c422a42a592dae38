"""A hook that notes the GPU memory of training steps."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

GPU_MEMORY = 'gpu_memory_mib'
SEARCHED, NOTED = 2, 10


class MemoryHook(Hook):
    """Note the peak of the GPU memory of training steps in MiB, as ``gpu_memory_mib`` in the runner's message hub.

    mmengine's log sets the peak back whenever it is written, so this hook looks before it, after each tenth step. The
    first steps do not count: cuDNN's search for fast kernels takes what is free, not what training needs.
    """

    def __init__(self) -> None:
        self._steps = 0

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Look at the peak."""
        self._steps += 1
        if self._steps == SEARCHED:
            torch.cuda.reset_peak_memory_stats()
        elif self._steps % NOTED == 0:
            before = runner.message_hub.runtime_info.get(GPU_MEMORY, 0)
            runner.message_hub.update_info(GPU_MEMORY, max(before, torch.cuda.max_memory_allocated() // 2**20))

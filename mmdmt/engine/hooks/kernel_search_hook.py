"""A hook that ends cuDNN's search for fast kernels where it costs more than it gains."""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

SIZES = 2


class KernelSearchHook(Hook):
    """Validate and test images of many sizes without cuDNN's search for kernels.

    With ``env_cfg.cudnn_benchmark=True``, cuDNN tries all kernels of a convolution whenever it meets a new size. Crops
    for training have one size, so that they gain; images to predict often differ. After more than two sizes, the search
    is off until the end of the validation or test. Kernels that were found stay. Label phases never search.
    """

    def before_val(self, runner: Runner) -> None:
        """Begin to count sizes."""
        self._searches, self._sizes = torch.backends.cudnn.benchmark, set[tuple[int, ...]]()

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Mapping[str, Any] | None = None) -> None:
        """Look at the sizes of a batch."""
        self._sizes |= {tuple(image.shape[-2:]) for image in (data_batch or {}).get('inputs', ())}
        if len(self._sizes) > SIZES:
            torch.backends.cudnn.benchmark = False

    def after_val(self, runner: Runner) -> None:
        """Search again."""
        torch.backends.cudnn.benchmark = self._searches

    def before_test(self, *args: Any) -> None:
        """Begin to count sizes."""
        self.before_val(*args)

    def before_test_iter(self, *args: Any, **kwargs: Any) -> None:
        """Look at the sizes of a batch."""
        self.before_val_iter(*args, **kwargs)

    def after_test(self, *args: Any) -> None:
        """Search again."""
        self.after_val(*args)

"""A hook that lets deterministic runs validate and test on GPUs."""

import warnings
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner


class EvaluationKernelsHook(Hook):
    """With ``randomness.deterministic=True``, allow all kernels while validating, testing and labeling.

    mmseg's ``IoUMetric`` counts pixels by ``torch.histc``, which torch refuses on a GPU then, though sums of whole
    numbers do not depend on their order. Training keeps to deterministic kernels.
    """

    def before_val(self, runner: Runner) -> None:
        """Allow them."""
        torch.use_deterministic_algorithms(True, warn_only=True)
        warnings.filterwarnings('ignore', '.*histc_cuda.* does not have a deterministic implementation')

    def after_val(self, runner: Runner) -> None:
        """Forbid them again."""
        torch.use_deterministic_algorithms(True)

    def before_test(self, *args: Any) -> None:
        """Allow them."""
        self.before_val(*args)

    def after_test(self, *args: Any) -> None:
        """Forbid them again."""
        self.after_val(*args)

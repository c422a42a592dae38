"""A hook that stops a phase whose pseudo labels are not weighted."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmdmt.errors import UserError
from mmdmt.losses import DynamicMutualLoss

STATISTIC = 'mean_weight'


@HOOKS.register_module()
class WeightedHook(Hook):
    """Stop a phase with pseudo labels at its first step if their weights have no effect.

    A model that passes the confidence to its dynamic losses logs their mean weight. The hook does nothing for a model
    whose losses give every pseudo label the weight 1.

    Args:
        phase: Name of the phase, for the message.
    """

    def __init__(self, phase: str) -> None:
        self.phase = phase
        self._checked = False

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Check the statistics of the first step.

        Raises:
            UserError: if there is no mean weight among them.
        """
        if self._checked:
            return
        self._checked = True
        losses = [module for module in runner.model.modules() if isinstance(module, DynamicMutualLoss)]
        if any(loss.weighs for loss in losses) and not any(key.endswith(STATISTIC) for key in outputs or ()):
            raise UserError(
                f'phase {self.phase}: the first step logs no {STATISTIC}, so its pseudo labels are not weighted: the '
                'model does not pass their confidence to its DynamicMutualLoss (see teacher_confidence), or its '
                'pipelines drop gt_confidence'
            )

"""A hook that lets the losses of several processes be those of one batch."""

from mmengine.dist import is_distributed
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmdmt.losses.whole_batch import divide_by_whole_batch, divides_by_labels


@HOOKS.register_module()
class WholeBatchHook(Hook):
    """Let the mean of each loss be that of the whole batch, as in the paper, not of each process.

    Each process would otherwise divide by its own valid pixels, so those of a process with few of them would count
    more. This serves each ``DynamicMutualLoss``, the methods of :mod:`mmdmt.methods`, any other module with the
    attribute ``whole_batch``, and the cross-entropies of mmsegmentation.
    """

    def before_train(self, runner: Runner) -> None:
        """Set ``whole_batch`` where several processes train; cross-entropies count their labels by our rule anyway."""
        for module in runner.model.modules():
            if hasattr(module, 'whole_batch'):
                module.whole_batch = is_distributed()
            elif divides_by_labels(module):
                divide_by_whole_batch(module)

"""A hook that keeps the statistics of batch norm."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm


@HOOKS.register_module()
class NormEvalHook(Hook):
    """Train with the running statistics of batch norm as they are (``norm_eval``), in any model.

    In ``dmt.semi.custom_hooks``, the statistics stay those of the labeled images that the first phase has seen; the
    scales and shifts are trained on.
    """

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Switch them to evaluation: the loop has set the whole model to training, anew after each validation."""
        for module in runner.model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()

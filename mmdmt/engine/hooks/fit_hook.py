"""A hook that refuses to test weights which do not fit."""

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmdmt.engine.checkpoint_fit import check_any, check_complete


@HOOKS.register_module()
class FitHook(Hook):
    """Refuse a checkpoint that lacks tensors of the model: mmengine only logs them, and tests random weights.

    Args:
        whole: To train, one tensor that fits suffices: False.
    """

    priority = 'LOWEST'  # EMAHook has exchanged the weights by then

    def __init__(self, whole: bool = True) -> None:
        self.whole = whole

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the checkpoint with the model.

        Raises:
            UserError: if a tensor is missing or has another shape (``whole``), or if none fits; says how many.
        """
        model = runner.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        check = check_complete if self.whole else check_any
        check(checkpoint, model, f'checkpoint {runner._load_from}')

"""A hook that refuses to test weights which do not fit."""

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmdmt.engine.checkpoint_fit import check_complete


@HOOKS.register_module()
class FitHook(Hook):
    """Refuse a checkpoint that lacks tensors of the model: mmengine only logs them, and tests random weights."""

    priority = 'LOWEST'  # EMAHook has exchanged the weights by then

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the checkpoint with the model.

        Raises:
            UserError: if a tensor is missing or has another shape; says how many of which kind.
        """
        model = runner.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        check_complete(checkpoint, model, f'checkpoint {runner._load_from}')

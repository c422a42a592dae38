"""A hook that refuses to test weights which do not fit."""

from collections.abc import Mapping

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmdmt.engine.checkpoint_fit import check_any, check_complete
from mmdmt.errors import UserError


@HOOKS.register_module()
class FitHook(Hook):
    """Refuse a checkpoint that lacks tensors of the model: mmengine only logs them, and tests random weights.

    A checkpoint that was trained with the same classes in another order is refused, too.

    Args:
        whole: To train, one tensor that fits suffices: False.
    """

    priority = 'LOWEST'  # EMAHook has exchanged the weights by then

    def __init__(self, whole: bool = True) -> None:
        self.whole = whole

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the checkpoint with the model.

        Raises:
            UserError: if a tensor is missing or has another shape (``whole``), or if none fits; says how many. If the
                checkpoint's classes have another order.
        """
        model = runner.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        check = check_complete if self.whole else check_any
        check(checkpoint, model, f'checkpoint {runner._load_from}')
        if self.whole:
            _check_classes(runner, checkpoint)


def _check_classes(runner: Runner, checkpoint: Mapping) -> None:
    """Compare the classes that a checkpoint was trained with to those of the images that it is tested on."""
    trained = (checkpoint.get('meta', {}).get('dataset_meta') or {}).get('classes')
    for loop in (runner._test_loop, runner._val_loop):
        dataset = getattr(getattr(loop, 'dataloader', None), 'dataset', None)
        tested = (getattr(dataset, 'metainfo', None) or {}).get('classes')
        if trained is None or tested is None or list(trained) == list(tested):
            continue
        if sorted(map(str, trained)) == sorted(map(str, tested)):
            raise UserError(
                f'checkpoint {runner._load_from} was trained with the classes {list(trained)}, but the images to test '
                f'on have them in another order: {list(tested)}'
            )
        runner.logger.warning(
            f'Checkpoint {runner._load_from} was trained with the classes {list(trained)}, but the images to test on '
            f'have {list(tested)}'
        )

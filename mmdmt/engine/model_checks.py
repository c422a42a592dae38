"""Checks models before the first training step, so that a mistake costs seconds and not hours."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.registry import MODELS
from mmengine.runner import CheckpointLoader

from mmdmt.config_dicts import copy_config
from mmdmt.datasets.unlabeled import UnlabeledDataset
from mmdmt.datasets.views import view_names
from mmdmt.engine.phase_config import schedulers_of
from mmdmt.errors import MissingFileError, UserError


def check_model(config: Mapping, key: str) -> Any:
    """Build a model, so that an unsupported head is refused now.

    Raises:
        ValueError: if the model cannot be built; contains the reason.
    """
    try:
        return MODELS.build(copy_config(config))
    except (ValueError, TypeError, KeyError, AssertionError) as error:
        raise UserError(f'{key}: the model cannot be built: {error}') from error


def check_schedule(schedulers: Any, steps: int, phase: str) -> None:
    """Check that every scheduler of a phase begins before the phase ends.

    Raises:
        ValueError: if one does not; names the phase, its length and the scheduler.
    """
    for index, scheduler in enumerate(schedulers_of(dict(param_scheduler=schedulers))):
        begin = scheduler.get('begin', 0)
        if begin >= steps:
            raise UserError(
                f'phase {phase} has {steps} steps, but param_scheduler.{index} ({scheduler.get("type")}) begins at '
                f'step {begin}: shorten the warm-up before it, or make the phase longer'
            )


def check_method(model: Any, key: str, scheme: str) -> None:
    """Check that a model is a method of :mod:`mmdmt.methods` if and only if the run's scheme is ``single``.

    Raises:
        ValueError: if they do not match; names both.
    """
    is_method = hasattr(model, 'views')
    if is_method and scheme != 'single':
        raise UserError(f"{key}: {type(model).__name__} trains in one phase: set dmt.scheme='single', not {scheme!r}")
    if not is_method and scheme == 'single':
        raise UserError(
            f"{key}: dmt.scheme='single' needs a model that is a method, such as dict(type='FixMatch', model=...); got "
            f'{type(model).__name__}'
        )


def check_views(method: Any, labeled: Any, unlabeled: Any, pipeline: Sequence) -> None:
    """Check that the pipelines give the views that a method needs, and no others.

    Args:
        method: A built method.
        labeled: Dataset of labeled images.
        unlabeled: Dataset of unlabeled images.
        pipeline: Training pipeline of the unlabeled images.

    Raises:
        ValueError: naming the config key and the views.
    """
    key, name = 'dmt.unlabeled.pipeline', type(method).__name__
    try:
        given = view_names(UnlabeledDataset(unlabeled, pipeline)[0])
    except UserError as error:
        raise UserError(f'{key}: {error}') from None
    except Exception as error:
        raise UserError(f'{key} fails on the first unlabeled image: {type(error).__name__}: {error}') from error
    if given == ('labeled',):
        raise UserError(f'{key} must end with Views, which gives the views {_names(method.views)} of {name}')
    given = (*view_names(labeled[0]), *given)
    missing = [view for view in method.views if view not in given]
    if missing:
        raise UserError(f'{name} needs the view(s) {_names(missing)}; the pipelines give {_names(given)}: see {key}')
    unused = [view for view in given if view not in method.views]
    if unused:
        raise UserError(f'{key}: {name} does not use the view(s) {_names(unused)}; it needs {_names(method.views)}')


def stock_network(model: Any) -> Any:
    """The network of a method that predicts, a stock model; any other model itself."""
    prefix = getattr(model, 'predictor_prefix', '')
    return model.get_submodule(prefix.removesuffix('.')) if prefix else model


def _names(views: Iterable[str]) -> str:
    return ', '.join(views)


def check_weights(config: Mapping, key: str, weights_help: str, model: Any) -> None:
    """Check that all initial weights exist and fit; download those named by a URL or a model zoo.

    Raises:
        FileNotFoundError: if weights are missing or cannot be loaded; names the file and where to get it.
        ValueError: if no tensor of ``load_from`` fits the model.
    """
    load_from = config.get('load_from')
    for source in [load_from, *_pretrained(config.get('model'))]:
        if not source:
            continue
        if '://' not in source and not Path(source).is_file():
            raise MissingFileError(f'{key}: initial weights {source!r} do not exist. {weights_help}'.rstrip())
        try:
            checkpoint = CheckpointLoader.load_checkpoint(source, map_location='cpu')
        except Exception as error:
            raise MissingFileError(
                f'{key}: initial weights {source!r} cannot be loaded ({type(error).__name__}: {error}). '
                f'{weights_help} Without a network, download them elsewhere and copy them to the cache of torch.hub '
                '(~/.cache/torch/hub/checkpoints), or set a local path.'
            ) from error
        if source == load_from:
            _check_fit(checkpoint.get('state_dict', checkpoint), stock_network(model), f'{key}.load_from={source!r}')


def check_supervised(path: str, key: str, model: Any) -> None:
    """Check that a checkpoint has all weights of a model.

    Raises:
        FileNotFoundError: if the checkpoint cannot be loaded.
        ValueError: if a tensor is missing or has another shape; names one.
    """
    try:
        checkpoint = CheckpointLoader.load_checkpoint(path, map_location='cpu')
    except Exception as error:
        raise MissingFileError(f'{key}={path!r} cannot be loaded ({type(error).__name__}: {error})') from error
    given = checkpoint.get('state_dict', checkpoint)
    own = stock_network(model).state_dict()
    unfit = [name for name in own if name not in given or given[name].shape != own[name].shape]
    if unfit:
        raise UserError(
            f'{key}={path!r} lacks {len(unfit)} of the {len(own)} tensors of the model, or has them in other shapes, '
            f'e.g. {unfit[0]!r}: use a checkpoint of exactly this model'
        )


def _check_fit(state_dict: Mapping, model: Any, key: str) -> None:
    own = model.state_dict()
    fitting = [name for name, value in state_dict.items() if name in own and own[name].shape == value.shape]
    if not fitting:
        raise UserError(
            f'{key}: none of its {len(state_dict)} tensors fits the model (first: {next(iter(state_dict), None)!r}; '
            f'the model has e.g. {next(iter(own))!r}): use a checkpoint of this model, converted if needed'
        )


def _pretrained(node: Any) -> list[str]:
    if isinstance(node, Mapping):
        own = [node['checkpoint']] if node.get('type') == 'Pretrained' and node.get('checkpoint') else []
        own += [node['pretrained']] if isinstance(node.get('pretrained'), str) else []
        return own + [source for value in node.values() for source in _pretrained(value)]
    if isinstance(node, list | tuple):
        return [source for value in node for source in _pretrained(value)]
    return []

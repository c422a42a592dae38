"""Checks models before the first training step, so that a mistake costs seconds and not hours."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.model import BaseModule
from mmengine.registry import MODELS, OPTIMIZERS

from mmdmt.config_dicts import copy_config, dicts_in, stock_model
from mmdmt.datasets.image_checks import first_sample
from mmdmt.datasets.unlabeled import UnlabeledDataset
from mmdmt.datasets.views import view_names
from mmdmt.engine.checkpoint_fit import check_any, check_complete, weights_of
from mmdmt.engine.divergence import are_finite
from mmdmt.engine.phase_config import schedulers_of
from mmdmt.errors import MissingFileError, RefusedFileError, UserError
from mmdmt.losses.dynamic_mutual_loss import DynamicMutualLoss
from mmdmt.untrusted import load_checkpoint

# Stock model -> the one of this package that serves its dynamic losses.
DMT_MODELS = {
    'EncoderDecoder': 'DMTEncoderDecoder',
    'CascadeEncoderDecoder': 'DMTCascadeEncoderDecoder',
    'ImageClassifier': 'DMTImageClassifier',
}

OPTIMIZER_NUMBERS = frozenset({'lr', 'weight_decay', 'momentum', 'dampening', 'eps', 'alpha'})


def check_model(config: Mapping, key: str) -> Any:
    """Build a model, so that an unsupported head is refused now.

    Raises:
        ValueError: if the model cannot be built; contains the reason.
    """
    try:
        return MODELS.build(copy_config(config))
    except Exception as error:  # a part of it, which can fail in any way
        head = _head_of_masks(config)
        reason = (
            f'its head {head} is not built on BaseDecodeHead, so it gives no score for each class' if head else error
        )
        raise UserError(f'{key}: the model cannot be built: {reason}') from error


def _head_of_masks(config: Any) -> str | None:
    """Name of a head of mmseg that matches whole masks: without mmdet, building one fails without a clear reason."""
    heads = stock_model(dict(config)).get('decode_head') if isinstance(config, Mapping) else None
    for head in heads if isinstance(heads, list | tuple) else [heads]:
        if not isinstance(head, Mapping):
            continue
        with MODELS.switch_scope_and_registry(None) as registry:
            found = registry.get(head['type']) if isinstance(head.get('type'), str) else head.get('type')
        if isinstance(found, type) and all(base.__name__ != 'BaseDecodeHead' for base in found.__mro__):
            return found.__name__
    return None


def check_schedule(schedulers: Any, steps: int, phase: str) -> None:
    """Check that every scheduler of a phase begins, and takes its first step, before the phase ends.

    Raises:
        UserError: if one does not; names the phase, its length and the scheduler.
    """
    for index, scheduler in enumerate(schedulers_of(dict(param_scheduler=schedulers))):
        if not isinstance(scheduler, Mapping):
            raise UserError(f'phase {phase}: param_scheduler.{index} must be a dict, got {scheduler!r}')
        begin = scheduler.get('begin', 0)
        if begin >= steps:
            raise UserError(
                f'phase {phase} has {steps} steps, but param_scheduler.{index} ({scheduler.get("type")}) begins at '
                f'step {begin}: shorten the warm-up before it, or make the phase longer'
            )
        first = min(scheduler.get('milestones') or [scheduler.get('step_size') or 0])
        if begin + first >= steps:
            key = 'milestones' if scheduler.get('milestones') else 'step_size'
            raise UserError(
                f'phase {phase} has {steps} steps, but param_scheduler.{index} ({scheduler.get("type")}) has '
                f'{key}={scheduler[key]!r}, so it would never change anything: choose steps of this phase, in dmt.'
                'supervised or dmt.semi, or a scheduler that lasts to its end, such as PolyLR'
            )
        total = scheduler.get('total_steps')
        if isinstance(total, int) and total < steps:
            raise UserError(
                f'phase {phase} has {steps} steps, but param_scheduler.{index} ({scheduler.get("type")}) has '
                f'total_steps={total}: leave it out, so that it lasts to the end of the phase'
            )


def check_optimizer(optim_wrapper: Any, phase: str) -> None:
    """Check that the optimizers of a phase exist, and that their numbers are numbers: mmengine's errors name neither.

    Raises:
        UserError: naming the phase, the key and the value.
    """
    for found in dicts_in(optim_wrapper):
        optimizer = found.get('optimizer')
        if not isinstance(optimizer, Mapping):
            continue
        name = optimizer.get('type')
        with OPTIMIZERS.switch_scope_and_registry(None) as registry:  # a toolbox has optimizers of its own
            known = not isinstance(name, str) or registry.get(name) is not None
        if not known:
            raise UserError(f'phase {phase} fails: optim_wrapper.optimizer.type={name!r} is not a known optimizer')
        for key in OPTIMIZER_NUMBERS & optimizer.keys():
            if isinstance(optimizer[key], bool) or not isinstance(optimizer[key], int | float):
                raise UserError(f'phase {phase}: optim_wrapper.optimizer.{key}={optimizer[key]!r} must be a number')


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
    given = (*view_names(first_sample(labeled, 'dmt.labeled')), *given)
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


def check_served(model: Any, key: str) -> None:
    """Check that the teacher's confidence reaches every dynamic loss of a model: only models of this package pass it.

    Raises:
        ValueError: if it does not; names the type of the model and the one to use.
    """
    losses = {module for module in model.modules() if isinstance(module, DynamicMutualLoss)}
    unserved = losses.difference(getattr(model, 'served_losses', ()))
    if unserved:
        name = type(model).__name__
        remedy = f'set model.type to {DMT_MODELS.get(name, " or ".join(DMT_MODELS.values()))}'
        if len(unserved) < len(losses):
            remedy = 'use DynamicMutualLoss in decode_head, auxiliary_head or head only'
        raise UserError(
            f'{key}: {name} does not pass the confidence of pseudo labels to {len(unserved)} of its {len(losses)} '
            f'DynamicMutualLoss, which would train unweighted: {remedy}'
        )


def check_weights(config: Mapping, key: str, weights_help: str, model: Any) -> None:
    """Check that all initial weights exist and fit; download those named by a URL or a model zoo.

    Raises:
        FileNotFoundError: if weights are missing or cannot be loaded; names the file and where to get it.
        ValueError: if no tensor of ``load_from`` fits the model, or none of a part's weights fits the part.
    """
    load_from = config.get('load_from')
    for source in [load_from, *_pretrained(config.get('model'))]:
        if not source:
            continue
        if '://' not in source and not Path(source).is_file():
            raise MissingFileError(f'{key}: initial weights {source!r} do not exist. {weights_help}'.rstrip())
        try:
            checkpoint = load_checkpoint(source)
        except RefusedFileError as error:
            raise RefusedFileError(f'{key}: initial weights: {error}. {weights_help}'.rstrip()) from error
        except Exception as error:
            raise MissingFileError(
                f'{key}: initial weights {source!r} cannot be loaded ({type(error).__name__}: {error}). '
                f'{weights_help} Without a network, download them elsewhere and copy them to the cache of torch.hub '
                '(~/.cache/torch/hub/checkpoints), or set a local path.'
            ) from error
        _check_finite(checkpoint.get('state_dict', checkpoint), f'{key}: initial weights {source!r}')
        if source == load_from:
            check_any(checkpoint, stock_network(model), f'{key}.load_from={source!r}')
        else:
            _check_parts(source, checkpoint, model, key)


def check_supervised(path: str, key: str, model: Any) -> None:
    """Check that a checkpoint has all weights of a model.

    Raises:
        FileNotFoundError: if the checkpoint cannot be loaded.
        ValueError: if a tensor is missing, has another shape, or is not finite; names one.
    """
    try:
        checkpoint = load_checkpoint(path)
    except RefusedFileError as error:
        raise RefusedFileError(f'{key}: {error}') from error
    except Exception as error:
        raise MissingFileError(f'{key}={path!r} cannot be loaded ({type(error).__name__}: {error})') from error
    _check_finite(weights_of(checkpoint), f'{key}={path!r}')
    check_complete(checkpoint, stock_network(model), f'{key}={path!r}')


def _check_parts(source: str, checkpoint: Mapping, model: Any, key: str) -> None:
    """Check that weights of a part of a model fit it, where the part loads them as they are."""
    for name, part in model.named_modules():
        # Some backbones rename tensors in their own `init_weights`.
        if getattr(type(part), 'init_weights', None) is not BaseModule.init_weights:
            continue
        init = part.init_cfg
        for found in [init] if isinstance(init, Mapping) else init or ():
            if found.get('type') == 'Pretrained' and found.get('checkpoint') == source:
                prefix = f'{found["prefix"].rstrip(".")}.' if found.get('prefix') else ''
                given = {
                    tensor.removeprefix(prefix): value
                    for tensor, value in weights_of(checkpoint).items()
                    if tensor.startswith(prefix)
                }
                check_any(given, part, f'{key}: initial weights {source!r} of {name}')


def _check_finite(state_dict: Mapping, source: str) -> None:
    """Refuse weights that are not finite."""
    bad = [name for name, value in state_dict.items() if not are_finite({name: value})]
    if bad:
        raise UserError(
            f'{source} has {len(bad)} of {len(state_dict)} tensors that are not finite, e.g. {bad[0]!r}: its training '
            'has diverged'
        )


def _pretrained(node: Any) -> list[str]:
    if isinstance(node, Mapping):
        own = [node['checkpoint']] if node.get('type') == 'Pretrained' and node.get('checkpoint') else []
        own += [node['pretrained']] if isinstance(node.get('pretrained'), str) else []
        return own + [source for value in node.values() for source in _pretrained(value)]
    if isinstance(node, list | tuple):
        return [source for value in node for source in _pretrained(value)]
    return []

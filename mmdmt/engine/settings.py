"""The ``dmt`` dict of a config, checked."""

import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from mmengine.config import Config

from mmdmt.core.schedule import Phase, plan
from mmdmt.engine.task import Task, task_of

# What a phase may override in the config: everything that defines an ordinary training run.
OVERRIDES = frozenset(
    'model data_preprocessor train_dataloader val_dataloader train_cfg val_cfg val_evaluator optim_wrapper '
    'param_scheduler auto_scale_lr default_hooks custom_hooks load_from randomness env_cfg model_wrapper_cfg sync_bn '
    'find_unused_parameters compile activation_checkpointing efficient_conv_bn_eval log_processor'.split()
)
DATA_KEYS = frozenset({'labeled', 'unlabeled', 'label_pipeline'})
KIND_KEYS = frozenset({'supervised', 'semi'})
MODEL_KEYS = frozenset({'weights_help', 'supervised_checkpoint'})
LENGTH_KEYS = frozenset({'epochs', 'iters', 'labeled_per_batch', 'unlabeled_per_batch'})
SELECT = ('last', 'val')


@dataclass(frozen=True)
class SplitSettings:
    """Which images of ``dmt.labeled`` count as labeled; the others become the unlabeled ones.

    Segmentation: ``ratio``, ``split_id`` and ``seed`` of :func:`mmdmt.core.splits.nested_split`; classification:
    ``num_labeled``, ``split_id`` and ``seed`` of :func:`mmdmt.core.splits.balanced_split`.
    ``difference_maximised`` is the ``alpha`` with which each of two models gets its own part of the labeled images
    (:func:`mmdmt.core.splits.difference_maximised_sampling`), or None.
    """

    ratio: float | None = None
    num_labeled: int | None = None
    split_id: int = 0
    seed: int = 7777
    difference_maximised: float | None = None


@dataclass(frozen=True)
class DMTSettings:
    """Checked content of the ``dmt`` dict.

    ``models``: name -> config overrides of that model, which go before those of ``supervised`` and ``semi`` (and may
    hold ``supervised`` and ``semi`` of its own); a ``model`` with a ``type`` replaces the config's, one without is
    merged into it; also its own ``labeled``, ``unlabeled`` and ``label_pipeline``; and ``supervised_checkpoint``, a
    checkpoint of this model trained on labeled data, which takes the place of the first phase's training.
    ``label_ratios``: share of the pseudo labels to use, one an iteration; none for ``online``.
    ``ranking``: what is ranked together by confidence: ``class`` (the pixels or images of each predicted class), or
    ``all`` images, the default of classification.
    ``scheme``: ``mutual``, ``self``, ``chain`` or, for segmentation, ``online``.
    ``reinitialise``: train from a new initialisation in each iteration, as ``chain`` always does.
    ``labeled``, ``unlabeled``: dataset configs, with their training pipeline.
    ``label_pipeline``: transforms of the images to label.
    ``split``: see :class:`SplitSettings`; without it, both datasets are taken as they are.
    ``supervised``, ``semi``: overrides of the phases on labeled data only and of those with pseudo labels, with their
    length in ``epochs`` (passes over the labeled / unlabeled images) or ``iters`` (optimizer steps, which goes first);
    ``semi`` also has ``labeled_per_batch`` and ``unlabeled_per_batch``, for each process.
    ``rank_stride``: rank one in so many pixels of each image instead of all (segmentation).
    ``confidence_dtype``: ``float32``, or ``float16`` to round confidences to it (segmentation).
    ``select``: which checkpoint a phase hands over, ``last`` or the best on ``val``.
    ``metric``: the one of ``val_evaluator`` that counts; default ``mIoU``, or ``accuracy/top1``.
    ``keep_labels``: keep pseudo labels that have been used.
    ``gamma_ramp``: let gamma rise over each phase.
    ``gamma_scale``: factor of all gammas of the loss, one an iteration; None is 1 in each.
    """

    models: dict[str, dict]
    labeled: dict
    unlabeled: dict
    label_pipeline: list
    supervised: dict
    semi: dict
    scheme: str = 'mutual'
    reinitialise: bool = False
    label_ratios: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0)
    split: SplitSettings | None = None
    ranking: str = 'class'
    rank_stride: int = 1
    confidence_dtype: str = 'float32'
    select: str = 'last'
    metric: str = 'mIoU'
    keep_labels: bool = False
    gamma_ramp: bool = False
    gamma_scale: tuple[float, ...] | None = None

    @classmethod
    def from_config(cls, cfg: Config) -> 'DMTSettings':
        """Read the ``dmt`` dict of a config.

        Raises:
            ValueError: naming the key, the value found and what is allowed.
        """
        if not isinstance(cfg.get('dmt'), Mapping):
            raise ValueError('the config has no `dmt` dict: it is not a DMT config')
        dmt = copy.deepcopy(cfg.dmt.to_dict())
        names = [field.name for field in fields(cls)]
        check_keys('dmt', dmt, names)
        missing = [name for name in ('models', 'labeled', 'unlabeled', 'label_pipeline', 'supervised', 'semi')
                   if not dmt.get(name)]  # fmt: skip
        if missing:
            raise ValueError(f'dmt.{missing[0]} is missing or empty')
        if not isinstance(dmt['models'], Mapping):
            raise ValueError(f'dmt.models must be a dict of name -> overrides, got {dmt["models"]!r}')
        for name, overrides in dmt['models'].items():
            check_keys(f'dmt.models.{name}', overrides, OVERRIDES | DATA_KEYS | KIND_KEYS | MODEL_KEYS)
            for kind in KIND_KEYS & overrides.keys():
                check_keys(f'dmt.models.{name}.{kind}', overrides[kind], OVERRIDES | LENGTH_KEYS)
        for name, overrides in (('', {}), *dmt['models'].items()):
            own = f' with those of dmt.models.{name}' if name else ''
            semi = merge(dmt['semi'], overrides.get('semi', {}))
            _check_phase_kind(f'dmt.semi{own}', semi, ('labeled_per_batch', 'unlabeled_per_batch'))
            _check_phase_kind(f'dmt.supervised{own}', merge(dmt['supervised'], overrides.get('supervised', {})), ())
        _check_choice('dmt.select', dmt.get('select', 'last'), SELECT)
        task = task_of(cfg)
        dmt.setdefault('metric', task.metric)
        _check_choice('dmt.ranking', dmt.setdefault('ranking', task.rankings[0]), task.rankings)
        _check_choice('dmt.confidence_dtype', dmt.get('confidence_dtype', 'float32'), task.confidence_dtypes)
        _check_number('dmt.rank_stride', dmt.get('rank_stride', 1))
        if dmt.get('rank_stride', 1) > 1 and task.store != 'maps':
            raise ValueError(f'dmt.rank_stride={dmt["rank_stride"]}: there are no pixels to rank, it must be 1')
        if dmt.get('split') is not None:
            dmt['split'] = _split_settings(dmt['split'], len(dmt['models']), task)
        ratios = () if dmt.get('scheme') == 'online' else cls.label_ratios
        dmt['label_ratios'] = tuple(dmt.get('label_ratios', ratios))
        if dmt.get('gamma_scale') is not None:
            dmt['gamma_scale'] = _gamma_scale(dmt['gamma_scale'], len(dmt['label_ratios']))
        settings = cls(**dmt)
        settings.phases()
        _check_choice('dmt.scheme', settings.scheme, task.schemes)
        return settings

    def kind(self, phase: Phase) -> dict:
        """Settings of the kind of a train phase, those of its model included."""
        name = 'supervised' if phase.supervised else 'semi'
        return merge(getattr(self, name), self.models[phase.model].get(name, {}))

    def supervised_checkpoint(self, phase: Phase) -> str | None:
        """The checkpoint that takes the place of a phase's training, None for a phase that is run."""
        return self.models[phase.model].get('supervised_checkpoint') if phase.supervised else None

    def gamma_scale_of(self, phase: Phase) -> float:
        """Factor of all gammas in a phase."""
        return 1.0 if not self.gamma_scale or phase.iteration == 0 else self.gamma_scale[phase.iteration - 1]

    def phases(self) -> list[Phase]:
        """The phases of the run, in order."""
        try:
            return plan(self.scheme, list(self.models), self.label_ratios, self.reinitialise)  # type: ignore[arg-type]
        except ValueError as error:
            raise ValueError(f'dmt: {error}') from None


def merge(base: Mapping, overrides: Mapping) -> dict:
    """A copy of ``base`` with ``overrides`` merged in, dict by dict; ``_delete_=True`` replaces a dict as a whole."""
    result = {key: copy.deepcopy(value) for key, value in base.items()}
    for key, value in overrides.items():
        if isinstance(value, Mapping):
            value = dict(value)
            replace = value.pop('_delete_', False) or not isinstance(result.get(key), Mapping)
            result[key] = merge({} if replace else result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def _gamma_scale(scale: Any, iterations: int) -> tuple[float, ...]:
    if not isinstance(scale, list | tuple) or len(scale) != iterations:
        raise ValueError(f'dmt.gamma_scale must list {iterations} numbers, one an iteration, got {scale!r}')
    for factor in scale:
        if not isinstance(factor, int | float) or isinstance(factor, bool) or not 0 <= factor < math.inf:
            raise ValueError(f'dmt.gamma_scale must hold finite numbers, not negative, got {factor!r}')
    return tuple(scale)


def _split_settings(split: Any, num_models: int, task: Task) -> SplitSettings:
    sizes = {'ratio': 'one of how many images is labeled, e.g. 20', 'num_labeled': 'how many images are labeled'}
    check_keys('dmt.split', split, {field.name for field in fields(SplitSettings)} - sizes.keys() | {task.split_size})
    if split.get(task.split_size) is None:
        raise ValueError(f'dmt.split.{task.split_size} is missing: {sizes[task.split_size]}')
    settings = SplitSettings(**split)
    if settings.difference_maximised is not None and num_models != 2:
        raise ValueError(f'dmt.split.difference_maximised needs exactly two models, got {num_models}')
    return settings


def _check_phase_kind(key: str, settings: Any, counts: Iterable[str]) -> None:
    check_keys(key, settings, OVERRIDES | {'epochs', 'iters', *counts})
    if settings.get('iters') is None and settings.get('epochs') is None:
        raise ValueError(f'{key} needs its length: `epochs` (a number of passes) or `iters` (optimizer steps)')
    for name in ('epochs', 'iters', *counts):
        value = settings.get(name)
        if name in counts or value is not None:
            _check_number(f'{key}.{name}', value, whole=name != 'epochs')


def _check_number(key: str, value: Any, whole: bool = True) -> None:
    if not isinstance(value, int if whole else (int, float)) or isinstance(value, bool) or value <= 0:
        raise ValueError(f'{key} must be a positive {"whole " if whole else ""}number, got {value!r}')


def _check_choice(key: str, value: Any, allowed: Iterable[str]) -> None:
    if value not in allowed:
        raise ValueError(f'{key}={value!r} is not one of {tuple(allowed)}')


def check_keys(key: str, settings: Any, allowed: Iterable[str]) -> None:
    """Refuse what is no dict or has a key that is not allowed: ValueError naming key, finding and allowed."""
    if not isinstance(settings, Mapping):
        raise ValueError(f'{key} must be a dict, got {settings!r}')
    unknown = sorted(set(settings) - set(allowed))
    if unknown:
        raise ValueError(f'{key} has unknown key(s) {", ".join(unknown)}; allowed are {", ".join(sorted(allowed))}')

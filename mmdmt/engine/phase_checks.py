"""Checks of a phase's config that its rehearsal, of one step and without workers, cannot make."""

import logging
from collections.abc import Iterable, Mapping, Sequence

from mmdmt.config_dicts import dicts_in, type_name
from mmdmt.errors import UserError
from mmdmt.processors import processors

# Beside all whose names begin with Rand.
RANDOM = frozenset({'PhotoMetricDistortion', 'Albu', 'Albumentations', 'ColorJitter', 'AutoAugment', 'GaussianBlur'})
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def check_phase(config: Mapping, steps: int, phase: str) -> None:
    """Check hooks, loop, loaders and log level of a phase.

    Args:
        config: Its ordinary config.
        steps: Its optimizer steps; 0 for a label phase.
        phase: Its name, for the message.

    Raises:
        UserError: naming the phase, the key, the value and what is allowed.
    """
    level = config.get('log_level', 'INFO')
    if level not in logging._nameToLevel:
        raise UserError(f'log_level={level!r} must be one of {", ".join(logging._nameToLevel)}')
    for name in LOADERS:
        _check_loader(config.get(name) or {}, f'phase {phase}: {name}')
    if steps:
        _check_loop(config.get('train_cfg') or {}, f'phase {phase}: train_cfg')
        _check_hooks(config, steps, phase)


def too_many_workers(configs: Iterable[Mapping]) -> Iterable[str]:
    """A warning if a loader of some phases starts more processes than the machine has processors."""
    workers = max(((config.get(name) or {}).get('num_workers', 0) for config in configs for name in LOADERS), default=0)
    if workers > (number := processors()):
        yield f'num_workers={workers} of a data loader, but {number} processors: fewer may be faster'


def check_label_pipeline(pipeline: Sequence, key: str) -> None:
    """Refuse transforms that change images at random: labels are made from images as they are.

    Raises:
        UserError: naming the key and the transform.
    """
    for transform in dicts_in(list(pipeline)):
        name = type_name(transform) or ''
        if name.startswith('Rand') or name in RANDOM:
            raise UserError(f'{key}: {name} changes images at random, but images are labeled as they are: leave it out')


def hooks_with_monitor(config: Mapping) -> Iterable[tuple[str, str]]:
    """Key and monitored metric of each custom hook that waits for a metric."""
    for index, hook in enumerate(config.get('custom_hooks') or ()):
        if isinstance(hook, Mapping) and isinstance(hook.get('monitor'), str):
            yield f'custom_hooks.{index} ({type_name(hook)}).monitor', hook['monitor']


def _check_loader(loader: Mapping, key: str) -> None:
    workers = loader.get('num_workers', 0)
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
        raise UserError(f'{key}.num_workers must be a whole number from 0, got {workers!r}')
    if not workers and loader.get('prefetch_factor') is not None:
        raise UserError(f'{key}.prefetch_factor={loader["prefetch_factor"]} needs num_workers above 0')


def _check_loop(loop: Mapping, key: str) -> None:
    intervals = [loop.get('val_interval', 1), *(pair[1] for pair in loop.get('dynamic_intervals') or ())]
    for interval in intervals:
        if isinstance(interval, bool) or not isinstance(interval, int) or interval < 1:
            raise UserError(f'{key}: intervals of validations must be whole numbers above 0, got {interval!r}')


def _check_hooks(config: Mapping, steps: int, phase: str) -> None:
    for index, hook in enumerate(config.get('custom_hooks') or ()):
        begin = hook.get('begin_iter', 0) if isinstance(hook, Mapping) else 0
        if isinstance(begin, int) and begin > steps:
            raise UserError(
                f'phase {phase} has {steps} steps, but custom_hooks.{index} ({type_name(hook)}) begins at step {begin}'
            )
    if not config.get('val_dataloader'):
        for key, monitor in hooks_with_monitor(config):
            raise UserError(f'phase {phase}: {key}={monitor!r} needs a val_dataloader, and there is none')

"""Convert what a config counts in epochs to optimizer steps: every phase is counted in steps."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from mmdmt.config_dicts import dicts_in, type_name
from mmdmt.errors import UserError

LOOPS = {'EpochBasedTrainLoop': True, 'IterBasedTrainLoop': False}
"""Known loops, and whether they count epochs."""

LOOP_KEYS = ('val_interval', 'val_begin')
KNOWN_KEYS = (*LOOP_KEYS, 'type', 'by_epoch', 'max_epochs', 'max_iters', 'dynamic_intervals', '_scope_')
SCHEDULER_KEYS = ('begin', 'end', 'T_max', 'total_steps', 'step_size', 'milestones', 'periods')
END_KEYS = ('end', 'T_max', 'total_steps')
HOOK_KEYS = ('interval', 'save_begin', 'profile_times')
# Arguments of hooks that say whether something counts epochs, not when.
SWITCHES = frozenset({'by_epoch', 'log_metric_by_epoch', 'adjust_by_epoch'})


def counts_epochs(loop: Mapping) -> bool:
    """Whether a ``train_cfg`` counts epochs.

    Raises:
        UserError: for a loop of another type, which a phase could not run, or for an argument that loops do not have.
    """
    for key in loop:
        if key not in KNOWN_KEYS:
            close = difflib.get_close_matches(str(key), KNOWN_KEYS, n=1)
            hint = f'; did you mean {close[0]}?' if close else ''
            raise UserError(f'train_cfg.{key} is not one of {", ".join(KNOWN_KEYS[:-1])}{hint}')
    name = type_name(loop)
    if name is not None and name not in LOOPS:
        raise UserError(
            f'train_cfg.type={name!r} is not one of {tuple(LOOPS)}: DMT trains each phase with the second one'
        )
    return LOOPS[name] if name else bool(loop.get('by_epoch', 'max_epochs' in loop))


def to_steps(config: dict, epoch: int, steps: int, whole: tuple) -> list[str]:
    """Convert the loop, schedulers and hooks of an ordinary config, in place.

    Args:
        config: The config of a phase, before its length is set.
        epoch: Steps of one epoch of the phase.
        steps: Steps of the phase.
        whole: Values that mean its end, such as ``max_epochs`` and ``max_iters`` of the config.

    Returns:
        What was converted, for the log.

    Raises:
        UserError: for a hook that waits for an epoch, or a scheduler whose lengths are no numbers.
    """
    loop = config.get('train_cfg') or {}
    by_epoch = counts_epochs(loop)
    notes = []
    if by_epoch:
        config['train_cfg'] = {'val_interval': 1, **loop}
        notes += _multiply(config['train_cfg'], LOOP_KEYS, epoch, 'train_cfg')
        if loop.get('dynamic_intervals'):
            pairs = loop['dynamic_intervals']
            config['train_cfg']['dynamic_intervals'] = [tuple(epoch * number for number in pair) for pair in pairs]
    for key, scheduler in _schedulers(config.get('param_scheduler')):
        _check_numbers(scheduler, key)
        # Beside a loop in epochs, a scheduler in steps counts something else: it may last as many steps by chance.
        end = () if by_epoch and not scheduler.get('by_epoch', True) else whole
        _follow_end(scheduler, end)
        notes += _scheduler_to_steps(scheduler, epoch, steps, end, key)
    for key, hook in _hooks(config):
        notes += _hook_to_steps(hook, epoch, by_epoch, key)
    if config.get('log_processor'):
        config['log_processor']['by_epoch'] = False
    return notes


def _schedulers(found: Any) -> Iterator[tuple[str, dict]]:
    """Key and config of each scheduler; several optimizers have a list of them each."""
    return ((f'param_scheduler ({type_name(part)})', part) for part in dicts_in(found) if 'type' in part)


def _check_numbers(scheduler: Mapping, key: str) -> None:
    for name in (name for name in SCHEDULER_KEYS if scheduler.get(name) is not None):
        value = scheduler[name]
        for number in value if isinstance(value, list | tuple) else [value]:
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise UserError(f'{key}.{name}={value!r} must hold numbers of steps or epochs')


def _follow_end(scheduler: dict, whole: tuple) -> None:
    """Let a scheduler that lasts from its begin to the end of the config last to the end of the phase."""
    begin = scheduler.get('begin') or 0
    if begin and scheduler.get('end') in (None, *whole) and scheduler.get('T_max') in [end - begin for end in whole]:
        del scheduler['T_max']  # then it is what is between begin and end


def _scheduler_to_steps(scheduler: dict, epoch: int, steps: int, whole: tuple, key: str) -> list[str]:
    to_end = [argument for argument in END_KEYS if scheduler.get(argument) in whole]
    notes = []
    # One that waits for a metric steps after a validation, whatever it counts.
    if scheduler.get('by_epoch', True) and not str(type_name(scheduler)).startswith('ReduceOnPlateau'):
        notes = _multiply(scheduler, [argument for argument in SCHEDULER_KEYS if argument not in to_end], epoch, key)
        if str(type_name(scheduler)).startswith('Exponential'):
            scheduler['gamma'] = scheduler['gamma'] ** (1 / epoch)  # it is applied at each step now
        scheduler['by_epoch'] = False
        scheduler.pop('convert_to_iter_based', None)
    scheduler.update(dict.fromkeys(to_end, steps))
    return notes


def _hooks(config: Mapping) -> Iterator[tuple[str, dict]]:
    for name, hook in (config.get('default_hooks') or {}).items():
        if isinstance(hook, Mapping):
            yield f'default_hooks.{name}', hook  # type: ignore[misc]
    for index, hook in enumerate(config.get('custom_hooks') or ()):
        if isinstance(hook, Mapping):
            yield f'custom_hooks.{index}', hook  # type: ignore[misc]


def _hook_to_steps(hook: dict, epoch: int, by_epoch: bool, key: str) -> list[str]:
    name, notes = type_name(hook), []
    if name == 'LoggerHook':
        hook['log_metric_by_epoch'] = False
    if hook.get('begin_epoch'):
        hook['begin_iter'] = hook.pop('begin_epoch') * epoch
        notes.append(f'{key}.begin_epoch = {hook["begin_iter"]} steps')
    # CheckpointHook counts epochs by default; PreciseBNHook counts what the loop counts.
    if hook.get('by_epoch', name == 'CheckpointHook' or (name == 'PreciseBNHook' and by_epoch)):
        if name == 'PreciseBNHook':
            hook.setdefault('interval', 1)
        else:
            hook['by_epoch'] = False
        notes += _multiply(hook, HOOK_KEYS, epoch, key)
    for part in dicts_in(hook):
        left = [argument for argument in part if 'epoch' in str(argument) and argument not in SWITCHES]
        if any(part[argument] for argument in left):
            raise UserError(
                f'{key} ({name}) waits for an epoch ({left[0]}={part[left[0]]!r}), but DMT counts a phase in steps: '
                'use a hook that counts steps, or leave it out'
            )
    return notes


def _multiply(found: dict, keys: Any, epoch: int, place: str) -> list[str]:
    """Multiply numbers, or lists of them, by the steps of an epoch; -1 and 0 mean never and the beginning."""
    notes = []
    for key in keys:
        value = found.get(key)
        if isinstance(value, list | tuple):
            found[key] = [round(number * epoch) for number in value]
        elif value is not None and value > 0:
            found[key] = max(1, round(value * epoch))
        else:
            continue
        notes.append(f'{place}.{key}={value} epochs = {found[key]} steps')
    return notes

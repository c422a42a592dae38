"""Sets the length of a phase: its loop, the schedulers that last to its end, and its checkpoints."""

from collections.abc import Iterable, Mapping
from typing import Any

from mmdmt.config_dicts import dicts_in, type_name
from mmdmt.engine.epochs import END_KEYS
from mmdmt.engine.settings import DMTSettings
from mmdmt.errors import UserError

SHORT = 20
"""How many times as long as each later phase a baseline may be without a warning."""

# Options of the stock hook, and the values with which a run can go on.
CHECKPOINTS = dict(
    out_dir=(None,), filename_tmpl=(None, 'iter_{}.pth'), save_optimizer=(True,), save_param_scheduler=(True,)
)


def set_length(result: dict, steps: int, settings: DMTSettings) -> None:
    """Set the length of a phase in its config, in place.

    Args:
        result: Config of the phase, counted in steps.
        steps: Optimizer steps of the phase.
        settings: Those of the run.
    """
    loop = result.get('train_cfg') or {}
    interval = loop.get('val_interval', steps)
    if settings.select != 'last':
        interval = min(interval, max(1, steps // 10))
    kept = {key: loop[key] for key in ('val_begin', 'dynamic_intervals') if loop.get(key)}
    result['train_cfg'] = dict(type='PhaseLoop', max_iters=steps, val_interval=min(interval, steps), **kept)
    for scheduler in dicts_in(result.get('param_scheduler')):
        if 'type' in scheduler:
            for key in {*END_KEYS} & {*scheduler, 'end'}:
                if scheduler.get(key) is None:
                    scheduler[key] = steps
    _set_checkpoints(result, steps, settings)


def _set_checkpoints(result: dict, steps: int, settings: DMTSettings) -> None:
    hooks = result['default_hooks'] = result.get('default_hooks') or {}
    checkpoint = hooks.setdefault('checkpoint', dict(type='CheckpointHook'))
    _check_checkpoints(checkpoint)
    if type_name(checkpoint) == 'CheckpointHook':
        checkpoint['type'] = 'PhaseCheckpointHook'
    interval = checkpoint.get('interval', -1)
    # A killed run loses at most a quarter of a phase, however short it is.
    interval = min(interval if interval > 0 else 1000, max(1, steps // 4))
    # A checkpoint does not contain accumulated gradients, so it is written right after an update.
    checkpoint['interval'] = interval + -interval % accumulated(result)
    # The hook deletes an old checkpoint before it writes the new one. With two, one is always complete.
    checkpoint.update(by_epoch=False, save_last=True, max_keep_ckpts=max(2, checkpoint.get('max_keep_ckpts', 2)))
    if settings.select != 'last':
        _add_best(checkpoint, settings.metric)


def _check_checkpoints(checkpoint: Any) -> None:
    """Refuse checkpoints that a phase cannot hand over, or from which it cannot go on as if it had not stopped."""
    key = 'default_hooks.checkpoint'
    if not isinstance(checkpoint, Mapping):
        raise UserError(f'{key}={checkpoint!r} must be a dict: a phase hands over its checkpoint')
    for name, allowed in CHECKPOINTS.items():
        if checkpoint.get(name, allowed[0]) not in allowed:
            raise UserError(
                f'{key}.{name}={checkpoint[name]!r} cannot be used: a run goes on from checkpoints in the folder of '
                'each phase, with all that it needs; remove this setting'
            )
    interval = checkpoint.get('interval', -1)
    if isinstance(interval, bool) or not isinstance(interval, int):
        raise UserError(f'{key}.interval={interval!r} must be a whole number of steps')


def accumulated(config: Mapping) -> int:
    """Steps per update of the weights.

    Raises:
        ValueError: if they are no whole number above 0.
    """
    found = (config.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise ValueError(f'optim_wrapper.accumulative_counts={found!r} must be a whole number above 0')
    return found


def _add_best(checkpoint: dict, metric: str) -> None:
    """Keep the best checkpoint by ``metric``, beside those that the user keeps."""
    others = [name for name in own_best(checkpoint) if name not in (metric, 'auto')]
    rules = checkpoint.get('rule')
    if isinstance(rules, list | tuple):
        given = dict(zip(own_best(checkpoint), rules, strict=False))
    else:
        given = dict.fromkeys(others, rules)
    checkpoint['save_best'] = [metric, *others] if others else metric
    # Models are compared by the largest value, too.
    checkpoint['rule'] = ['greater', *(given.get(name) or _rule(name) for name in others)] if others else 'greater'


def own_best(checkpoint: Mapping) -> list[str]:
    """Metrics whose best checkpoint the config keeps."""
    found = checkpoint.get('save_best') or []
    return [found] if isinstance(found, str) else list(found)


def _rule(metric: str) -> str:
    return 'less' if 'loss' in metric else 'greater'


def short_phases(settings: DMTSettings, phases: Iterable[Any]) -> list[str]:
    """A warning for each model whose phases with pseudo labels are very short beside its baseline.

    Args:
        settings: Those of the run.
        phases: Its resolved phases.
    """
    steps: dict[tuple[str, bool], int] = {}
    for found in phases:
        key = (found.phase.model, found.phase.supervised)
        steps[key] = max(steps.get(key, 0), found.steps)
    return [
        f'model {model}: phases with pseudo labels have at most {steps[model, False]} steps beside {baseline} of the '
        'baseline, too few to learn from these labels: set dmt.semi.min_iters, or raise dmt.semi.epochs'
        for (model, supervised), baseline in steps.items()
        if supervised
        and baseline > SHORT * steps.get((model, False), baseline)
        and not settings.models[model].get('supervised_checkpoint')
    ]

"""The processes of a run: how they start together, wait for each other, and end when one of them is lost."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import get_dist_info, init_dist, is_distributed, is_main_process

from mmdmt.errors import LostProcessError, UserError

KEY = 'env_cfg.dist_cfg.timeout'
TIMEOUT = 600.0
"""Seconds that a process waits for the others, unless ``KEY`` sets them; gloo would wait half an hour."""
PATIENCE = timedelta(days=1)
"""How long the others wait for what the first process does alone, such as reading all images once."""


def join_processes(cfg: Config) -> None:
    """Connect the processes that a launcher has started, with the backend and ``timeout`` of ``env_cfg.dist_cfg``.

    Raises:
        UserError: if the time-out is not a number of seconds above 0.
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none' or is_distributed():
        return
    seconds = _timeout(cfg)
    if torch.cuda.is_available():
        init_dist(launcher, **{'backend': 'nccl', **_settings(cfg), 'timeout': seconds})
    else:  # mmengine's init_dist requires a GPU
        torch.distributed.init_process_group('gloo', timeout=timedelta(seconds=seconds))


def use_processes(cfg: Config, run: Config) -> None:
    """Make the config of a phase use the processes of the run."""
    cfg.launcher = run.get('launcher', 'none')
    if is_distributed() and not torch.cuda.is_available() and not cfg.get('model_wrapper_cfg'):
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )  # fmt: skip


def _settings(cfg: Config) -> dict[str, Any]:
    return (cfg.get('env_cfg') or {}).get('dist_cfg') or {}


def _timeout(cfg: Config) -> float:
    """Seconds that a process waits for the others."""
    value = _settings(cfg).get('timeout')
    if value is None:
        return TIMEOUT
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= PATIENCE.total_seconds():
        raise UserError(f'{KEY}={value!r} must be a number of seconds above 0, at most {PATIENCE.total_seconds():g}')
    return float(value)


@contextmanager
def lost_processes_named(cfg: Config) -> Iterator[None]:
    """Say in one line that another process has ended or does not answer; the backends' errors name sockets only.

    Raises:
        LostProcessError: instead of the backend's error; says what happened, and the remedy.
    """
    try:
        yield
    except RuntimeError as error:
        if cfg.get('launcher', 'none') == 'none' or not _of_a_backend(error):
            raise
        given = (os.environ.get(key, 'unknown') for key in ('RANK', 'WORLD_SIZE'))
        rank, world_size = get_dist_info() if is_distributed() else given  # before all have come
        what = (
            f'has waited {_timeout(cfg):g} s for another one, which is stopped, hangs, or needs longer than {KEY}'
            if re.search('timed ?out|timeout', str(error), re.IGNORECASE)
            else 'has lost the connection to another one, which has ended; its own message or the log of its host says '
            'why (a lack of memory leaves none)'
        )
        raise LostProcessError(
            f'process {rank} of {world_size} (from 0) {what}. All processes end; continue with --resume'
        ) from error


def _of_a_backend(error: RuntimeError) -> bool:
    kind = getattr(torch.distributed, 'DistError', torch.distributed.DistBackendError)  # torch 2.1 has the second only
    return isinstance(error, kind) or '/gloo/' in str(error)


def first_alone(work: Callable[[], None]) -> None:
    """Let the first process work, however long it takes; the others wait for its end.

    An ordinary barrier would end them after the time-out.
    """
    if not is_distributed():
        work()
        return
    group = torch.distributed.new_group(backend='gloo', timeout=PATIENCE)
    if is_main_process():
        work()
    torch.distributed.barrier(group)
    torch.distributed.destroy_process_group(group)

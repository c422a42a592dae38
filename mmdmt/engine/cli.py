"""Config loading that the command-line tools share."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import RUNNERS

from mmdmt.config_dicts import type_name
from mmdmt.engine.console import drop_printed_chatter
from mmdmt.errors import InstallationError, UserError
from mmdmt.files import write_text
from mmdmt.shipped import find_config

RUN_CONFIG = 'config.py'
"""File in the work dir of a run: its config, with all options."""
SUFFIXES = ('.py', '.json', '.yaml', '.yml')
CHECKPOINTS = ('.pth', '.pt', '.ckpt', '.safetensors')


def load_config(args: argparse.Namespace) -> Config:
    """Load the config that the common arguments define; the config of a work dir is the one that its run has.

    Raises:
        FileNotFoundError: if the config file does not exist.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if Path(args.config).is_dir():
        args.work_dir = args.work_dir or args.config
        args.config = Path(args.config) / RUN_CONFIG
    cfg = read_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir == '':  # of a variable that is not set
        raise UserError('--work-dir is empty: it must be a folder')
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    place = Path(cfg.work_dir).absolute()
    blocked = next((path for path in (place, *place.parents) if path.is_file()), None)
    if blocked is not None:
        raise UserError(f'work dir {cfg.work_dir} cannot be a folder: {blocked} is a file')
    return cfg


def is_dmt(cfg: Config) -> bool:
    """Whether a config is of a DMT run; others are ordinary ones.

    Raises:
        UserError: if it has a runner of another kind.
    """
    kind = cfg.get('runner_type')
    if kind is None or type_name(dict(type=kind)) == 'Runner':
        return False
    found = RUNNERS.get(kind) if isinstance(kind, str) else kind
    if not hasattr(found, 'dry_run'):
        raise UserError(f"runner_type={kind!r} must be 'DMTRunner', or absent for an ordinary config")
    return True


def write_config(cfg: Config, work_dir: Path) -> None:
    """Write the config of a run, with all options, to its work dir."""
    content = {key: value for key, value in cfg.to_dict().items() if key not in ('work_dir', 'resume', 'launcher')}
    write_text(work_dir / RUN_CONFIG, Config(content, format_python_code=False).pretty_text)


def read_config(path: str | Path, options: Mapping[str, Any]) -> Config:
    """Read a config and merge ``options`` (dotted keys); ``data_root`` also applies to the data sets that use it.

    Args:
        path: A file, or the name of a config of this package (:func:`~mmdmt.shipped.config_path`).
        options: Dotted key -> value.

    Raises:
        FileNotFoundError: if there is no such config.
    """
    path = find_config(path)
    if Path(path).suffix not in SUFFIXES:
        what = 'a checkpoint' if Path(path).suffix in CHECKPOINTS else 'no config'
        raise UserError(
            f'{path} is {what}, where a config is expected ({", ".join(SUFFIXES)}), or the work dir of a run'
        )
    drop_printed_chatter()
    try:
        cfg = Config.fromfile(path)
    except InstallationError:
        raise
    except UserError as error:
        raise UserError(f'config {path}: {error}') from error
    except Exception as error:  # a config is code, which can fail in any way
        reason = _first(error) if isinstance(error, ImportError) else error
        raise UserError(f'config {path} cannot be read: {type(reason).__name__}: {reason}') from error
    data_root = cfg.get('data_root')
    try:
        cfg.merge_from_dict(dict(options))
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise UserError(f'--cfg-options {dict(options)} does not fit {path}: {error}') from error
    if data_root is not None and cfg.data_root != data_root:
        _move_data(cfg._cfg_dict, data_root, cfg.data_root)
    return cfg


def _first(error: BaseException) -> BaseException:
    """The error that has led to an error: mmengine lists the whole path of Python where a package is missing."""
    earlier = error.__cause__ or error.__context__
    return error if earlier is None else _first(earlier)


def _move_data(node: Any, before: str, now: str) -> None:
    if isinstance(node, Mapping):
        if node.get('data_root') == before:
            node['data_root'] = now  # type: ignore[index]
        node = node.values()
    elif not isinstance(node, list | tuple):
        return
    for value in node:
        _move_data(value, before, now)

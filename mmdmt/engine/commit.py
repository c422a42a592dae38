"""Completes a phase on disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mmdmt.files import atomic, checksum, write_json
from mmdmt.untrusted import load_checkpoint

RECORD = 'phase.json'
# What only a resumed phase needs: most of a checkpoint, with Adam two thirds of it.
FOR_RESUME = ('optimizer', 'param_schedulers')


def commit(folder: Path, record: Mapping[str, Any], keep_best: bool = False) -> None:
    """Complete a phase: slim the checkpoint that it hands over, write ``phase.json``, delete its other checkpoints.

    The checkpoint holds the record too, so that a lost ``phase.json`` costs nothing.

    Args:
        folder: Folder of the phase.
        record: Content of ``phase.json``; a train phase names its ``checkpoint``, a file in the folder.
        keep_best: Keep the checkpoints that ``save_best`` of the config has written, too.
    """
    name = record.get('checkpoint')
    if name is not None:
        _slim(folder / name, record)
    write_record(folder, record)
    for pattern in ('iter_*.pth',) if keep_best else ('iter_*.pth', 'best_*.pth'):
        for path in folder.glob(pattern):
            if path.name != name:
                path.unlink()


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write ``phase.json``, with the checksum of the checkpoint that it names."""
    sums = dict(checksum=checksum(folder / record['checkpoint'])) if 'checkpoint' in record else {}
    write_json(folder / RECORD, {**record, **sums})


def _slim(path: Path, record: Mapping[str, Any]) -> None:
    checkpoint = {key: value for key, value in load_checkpoint(path).items() if key not in FOR_RESUME}
    meta = checkpoint.get('meta', {})
    checkpoint['meta'] = {**meta, 'dmt': {**meta.get('dmt', {}), 'record': dict(record)}}
    with atomic(path) as file:
        torch.save(checkpoint, file)

"""The state of a run on disk."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdmt.core.schedule import Phase
from mmdmt.errors import DamagedFileError, ExistingRunError, MissingFileError, RefusedFileError, UserError
from mmdmt.files import read_json, write_json
from mmdmt.untrusted import check_archive, read_meta

# Keys that do not affect results: a run may resume with other values.
FREE_KEYS = frozenset(
    'work_dir resume launcher log_level log_processor visualizer vis_backends env_cfg custom_imports runner_type '
    'default_hooks tta_model tta_pipeline'.split()
)
FREE_LEAVES = frozenset(
    {'data_root', 'rehearse', 'keep_checkpoints', 'num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor'}
)


class Manifest:
    """State of a run: ``dmt.json`` holds its config and plan, ``PHASE/phase.json`` the result of a complete phase.

    Each phase writes only its own file, last and atomically. Phases can therefore run side by side, and a killed run
    never leaves a half-written state. Paths to files of the run are relative, so a work dir can be moved.

    Args:
        work_dir: The run's work dir.
        phases: The phases of its plan.
    """

    def __init__(self, work_dir: str | Path, phases: Iterable[Phase]) -> None:
        self.work_dir = Path(work_dir)
        self.phases = list(phases)

    @property
    def path(self) -> Path:
        """Path of ``dmt.json``."""
        return self.work_dir / 'dmt.json'

    def check(self, cfg: Config, resume: bool) -> None:
        """Refuse to mix this run with another one in the same work dir.

        Raises:
            FileExistsError: if the work dir holds a run and ``resume`` is False.
            ValueError: if that run has another config; names the keys that differ. Or if phases are there that no
                ``dmt.json`` tells the run of.
        """
        if not self.path.is_file():
            self._check_empty()
            return
        if not resume:
            raise ExistingRunError(
                f'{self.work_dir} already holds a DMT run: add --resume to continue it, or choose another --work-dir'
            )
        config = (read_json(self.path) or {}).get('config')
        if not isinstance(config, dict):
            raise DamagedFileError(
                f'{self.path} is damaged, which says what run this is: restore it from a copy, or choose another '
                '--work-dir'
            )
        changes = describe_changes(config, flatten(cfg))
        if changes:
            raise UserError(
                f'{self.work_dir} holds a run with another config ({changes}): restore that config to continue it, '
                'or choose another --work-dir'
            )

    def _check_empty(self) -> None:
        """Refuse to take over the phases of a run that nothing tells the config of."""
        for name in ('phase.json', 'labels.json', 'part-*.csv', '*.pth'):
            for path in self.work_dir.glob(f'[0-9][0-9]_*/{name}'):
                raise ExistingRunError(
                    f'{self.work_dir} holds phases of a run (e.g. {path.parent.name}), but no dmt.json, which says of '
                    'what run: restore it from a copy, delete the folders of the phases, or choose another --work-dir'
                )

    def start(self, cfg: Config) -> None:
        """Write config and plan unless they exist already."""
        if not self.path.is_file():
            write_json(self.path, dict(format=1, config=flatten(cfg), plan=[vars(phase) for phase in self.phases]))

    def folder(self, name: str) -> Path:
        """Work dir of a phase."""
        return self.work_dir / name

    def record(self, name: str) -> dict[str, Any] | None:
        """Result of a phase; None if the phase is not complete, or its record is damaged."""
        record = read_json(self.folder(name) / 'phase.json')
        return None if record is None or record.get('phase', name) != name else record

    def is_complete(self, name: str) -> bool:
        """Whether a phase is complete."""
        return self.record(name) is not None

    def score(self, phase: Phase, metric: str) -> float | None:
        """Validation metric of the checkpoint that a phase hands over; None if not complete or not validated."""
        return (self.record(phase.name) or {}).get('metrics', {}).get(metric)

    def missing(self, phase: Phase) -> list[str]:
        """Names of the incomplete phases that a phase needs."""
        return [name for name in phase.inputs if not self.is_complete(name)]

    def checkpoint(self, name: str) -> Path:
        """Checkpoint that a complete train phase hands over.

        Raises:
            FileNotFoundError: if the checkpoint does not exist.
            RefusedFileError: if it would not be in the folder of the phase.
        """
        given = (self.record(name) or {}).get('checkpoint', 'no checkpoint recorded')
        path = self.folder(name) / str(given)
        if path.name != given:
            raise RefusedFileError(
                f'{self.folder(name) / "phase.json"} names the checkpoint {given!r}, but a phase hands over a file in '
                'its own folder; delete that folder to run the phase again'
            )
        if not path.is_file():
            raise MissingFileError(f'{path}: checkpoint of phase {name} not found; delete its folder to retrain it')
        return path


def latest_checkpoint(folder: Path) -> tuple[Path | None, list[str]]:
    """Newest whole checkpoint ``iter_*.pth`` of an interrupted phase.

    Returns:
        The checkpoint, or None; and a line for each newer one that cannot be used. Damaged ones are deleted.
    """
    found = {path: re.fullmatch(r'iter_(\d+)', path.stem) for path in folder.glob('iter_*.pth') if path.is_file()}
    checkpoints = sorted((int(match[1]), path) for path, match in found.items() if match)
    findings = []
    for _, path in reversed(checkpoints):
        try:
            check_archive(path)
        except DamagedFileError as error:
            findings.append(f'{error}: it is deleted')
            path.unlink()
            continue
        if read_meta(path).get('dmt', {}).get('phase') == folder.name:
            return path, findings
        findings.append(f'{path} is not of phase {folder.name}: it is not used')
    return None, findings


def describe_changes(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Describe the keys that differ between two flattened configs, with both values; empty if none differs."""
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    shown = '; '.join(f'{key}: {before.get(key, "absent")} -> {now.get(key, "absent")}' for key in changed[:8])
    return shown + (f' and {len(changed) - 8} more' if len(changed) > 8 else '')


def flatten(cfg: Config) -> dict[str, str]:
    """Dotted key -> value as text, for all keys of a config that affect results."""
    leaves: dict[str, str] = {}
    for key, value in cfg.to_dict().items():
        if key not in FREE_KEYS | FREE_LEAVES:
            _flatten(key, value, leaves)
    return leaves


def _flatten(key: str, value: Any, leaves: dict[str, str]) -> None:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            if name not in FREE_LEAVES:
                _flatten(f'{key}.{name}', item, leaves)
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            _flatten(f'{key}.{index}', item, leaves)
    else:
        leaves[key] = repr(list(value) if isinstance(value, tuple) else value)

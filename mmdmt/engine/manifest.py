"""The state of a run on disk."""

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdmt.config_dicts import leaves
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
    {'data_root', 'rehearse', 'report', 'keep_checkpoints', 'num_workers', 'persistent_workers', 'pin_memory'}
    | {'prefetch_factor', 'archives'}
)


INPUTS = 'inputs.json'
"""File in the folder of a phase that has begun: its settings and data, see :mod:`mmdmt.engine.phase_inputs`."""


# What a phase leaves that is worth something.
WRITTEN = ('phase.json', 'labels.json', 'part-*.csv', '*.pth')


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

        :class:`~mmdmt.engine.phase_inputs.PhaseInputs` compares the settings of each phase. Where these are
        lost, or an earlier version did not store them, a run must have the config that it started with.

        Raises:
            FileExistsError: if the work dir holds a run and ``resume`` is False.
            ValueError: if that run must have another config; names the keys that differ. Or if phases are there that no
                ``dmt.json`` tells the run of.
        """
        if not self.path.is_file():
            self._check_empty()
            return
        if not resume:
            raise ExistingRunError(
                f'{self.work_dir} already holds a DMT run: add --resume to continue it, or choose another --work-dir'
            )
        config, now = self.config(), flatten(cfg)
        scopes = [found.get('default_scope', 'none') for found in (config, now)]
        if scopes[0] != scopes[1]:
            raise ExistingRunError(
                f'{self.work_dir} holds a run of another toolbox (default_scope {" -> ".join(scopes)}): choose another '
                '--work-dir'
            )
        unknown = [phase for phase in self.phases if self._has_begun(phase.name) and not self.inputs(phase.name)]
        changes = describe_changes(config, now)
        if unknown and changes:
            raise UserError(
                f'{self.work_dir} holds a run with another config ({changes}): restore that config to continue it, '
                'or choose another --work-dir'
            )

    def config(self) -> dict[str, str]:
        """Flattened config that the run started with.

        Raises:
            DamagedFileError: if ``dmt.json`` is damaged.
        """
        config = (read_json(self.path) or {}).get('config')
        if not isinstance(config, dict):
            raise DamagedFileError(
                f'{self.path} is damaged, which says what run this is: restore it from a copy, or choose another '
                '--work-dir'
            )
        return config

    def inputs(self, name: str) -> dict[str, Any] | None:
        """What a phase began with: ``run``, the config of the run, and ``inputs``; None before, or if damaged."""
        found = read_json(self.folder(name) / INPUTS)
        return found if found and isinstance(found.get('inputs'), dict) and isinstance(found.get('run'), dict) else None

    def told_sources(self) -> list[str]:
        """A sentence for each phase that took over weights; their path is relative to the work dir."""
        found = {phase.name: (self.record(phase.name) or {}).get('taken_over') for phase in self.phases}
        paths = {name: os.path.relpath(path, self.work_dir) if os.path.isabs(path) else path
                 for name, path in found.items() if path}  # fmt: skip
        return [f'Not trained here: {name} uses {path}.' for name, path in paths.items()]

    def told_changes(self) -> list[str]:
        """A sentence for each config, other than that of the start, that phases began with."""
        found: dict[str, list[str]] = {}
        for phase in self.phases:
            inputs = self.inputs(phase.name)
            if inputs and (changes := describe_changes(self.config(), inputs['run'])):
                found.setdefault(changes, []).append(phase.name)
        return [
            f'Phase{"s" * (len(names) > 1)} {", ".join(names)} began with a changed config: {changes}.'
            for changes, names in found.items()
        ]

    def _check_empty(self) -> None:
        """Refuse to take over the phases of a run that nothing tells the config of."""
        for name in WRITTEN:
            for path in self.work_dir.glob(f'[0-9][0-9]_*/{name}'):
                raise ExistingRunError(
                    f'{self.work_dir} holds phases of a run (e.g. {path.parent.name}), but no dmt.json, which says of '
                    'what run: restore it from a copy, delete the folders of the phases, or choose another --work-dir'
                )

    def _has_begun(self, name: str) -> bool:
        """Whether a phase has written what it would go on with."""
        return any(True for written in WRITTEN for _ in self.folder(name).glob(written))

    def start(self, cfg: Config) -> None:
        """Write the plan, the config that the run started with and, where it has changed since, the one it has now."""
        before, now = read_json(self.path) or {}, flatten(cfg)
        content = dict(format=1, config=before.get('config', now), plan=[vars(phase) for phase in self.phases])
        if content['config'] != now:
            content['now'] = now
        if json.loads(json.dumps(content)) != before:
            write_json(self.path, content)

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
        """Validation metric of the checkpoint that a phase hands over; None without one, and for one that is NaN."""
        score = (self.record(phase.name) or {}).get('metrics', {}).get(metric)
        return None if score is None or math.isnan(score) else score

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


def checkpoints(folder: Path) -> dict[int, Path]:
    """Checkpoints ``iter_*.pth`` of an interrupted phase by their step, ascending."""
    found = {path: re.fullmatch(r'iter_(\d+)', path.stem) for path in folder.glob('iter_*.pth') if path.is_file()}
    return dict(sorted((int(match[1]), path) for path, match in found.items() if match))


def latest_checkpoint(folder: Path, ordinary: bool = False) -> tuple[Path | None, list[str]]:
    """Newest whole checkpoint ``iter_*.pth`` of an interrupted phase, or of an ``ordinary`` run of mmengine.

    Returns:
        The checkpoint, or None; and a line for each newer one that cannot be used. Damaged ones are deleted.
    """
    findings = []
    for path in reversed(checkpoints(folder).values()):
        try:
            check_archive(path)
        except DamagedFileError as error:
            findings.append(f'{error}: it is deleted')
            path.unlink()
            continue
        if ordinary or read_meta(path).get('dmt', {}).get('phase') == folder.name:
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
    found: dict[str, str] = {}
    for key, value in cfg.to_dict().items():
        if key not in FREE_KEYS | FREE_LEAVES:
            found.update(leaves(key, value, FREE_LEAVES.__contains__))
    return found

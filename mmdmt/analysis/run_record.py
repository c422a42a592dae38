"""Reads what a run left on disk, whole, interrupted or damaged: what is missing is left out."""

import json
import math
import re
from ast import literal_eval
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from mmdmt.core.schedule import Phase
from mmdmt.engine.manifest import Manifest
from mmdmt.errors import MissingFileError
from mmdmt.files import read_json

NOTES = 'run_notes.json'
"""File in the work dir with what only the running process knows, see :mod:`mmdmt.analysis.run_notes`."""
CLASS_IOU = 'IoU/'
METRICS = ('mIoU', 'accuracy/top1')
_FOLDER = re.compile(r'(\d\d)_(train|label)_([a-z][a-z0-9_-]*)')


@dataclass(frozen=True)
class RunRecord:
    """A run as its files tell it.

    ``phases``: those of the plan; without a readable plan, those that have a folder.
    ``config``: dotted key -> value as text, of the config of the run.
    ``notes``: see :mod:`mmdmt.analysis.run_notes`; empty if the file is missing.
    """

    work_dir: Path
    phases: Sequence[Phase]
    config: dict[str, str]
    notes: dict[str, Any]

    @classmethod
    def read(cls, work_dir: str | Path) -> 'RunRecord':
        """Read a work dir.

        Raises:
            MissingFileError: if it holds no run.
        """
        work_dir = Path(work_dir)
        content = read_json(work_dir / 'dmt.json') or {}
        phases = _planned(content.get('plan')) or _found(work_dir)
        if not phases:
            raise MissingFileError(f'{work_dir} holds no DMT run: it has neither dmt.json nor folders of phases')
        first, now = content.get('config'), content.get('now')
        config = (now if isinstance(now, dict) else first) if isinstance(first, dict) else {}
        return cls(work_dir, phases, config, read_json(work_dir / NOTES) or {})

    @cached_property
    def manifest(self) -> Manifest:
        """Its manifest."""
        return Manifest(self.work_dir, self.phases)

    @cached_property
    def records(self) -> dict[str, dict[str, Any]]:
        """Name -> content of ``phase.json``, of each complete phase."""
        found = {phase.name: self.manifest.record(phase.name) for phase in self.phases}
        return {name: record for name, record in found.items() if record is not None}

    @property
    def trains(self) -> list[Phase]:
        """Its train phases."""
        return [phase for phase in self.phases if phase.kind == 'train']

    @property
    def labels(self) -> list[Phase]:
        """Its label phases."""
        return [phase for phase in self.phases if phase.kind == 'label']

    @property
    def models(self) -> list[str]:
        """Names of its models."""
        return list(dict.fromkeys(phase.model for phase in self.phases))

    @property
    def complete(self) -> bool:
        """Whether all phases are complete."""
        return len(self.records) == len(self.phases)

    @property
    def single(self) -> bool:
        """Whether a method trains in one phase, without labels on disk."""
        return not self.labels

    @cached_property
    def metric(self) -> str:
        """The metric that compares its models."""
        given = self.notes.get('metric') or self.setting('dmt.metric')
        if given:
            return str(given)
        measured = {name for record in self.records.values() for name in record.get('metrics') or ()}
        default = METRICS[self.setting('default_scope') == 'mmpretrain']
        return next((name for name in METRICS if name in measured), default)

    def setting(self, key: str) -> Any:
        """Value of a dotted config key; None if the config does not have it."""
        try:
            return literal_eval(self.config[key])
        except (KeyError, ValueError, SyntaxError, TypeError):
            return None

    def score(self, phase: Phase, metric: str | None = None) -> float | None:
        """Validation metric of the checkpoint that a train phase hands over; None without a number."""
        value = (self.records.get(phase.name, {}).get('metrics') or {}).get(metric or self.metric)
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

    def scores(self, model: str) -> dict[int, float]:
        """Iteration -> metric of a model."""
        found = {phase.iteration: self.score(phase) for phase in self.trains if phase.model == model}
        return {iteration: score for iteration, score in sorted(found.items()) if score is not None}

    @property
    def class_figure(self) -> str:
        """What :meth:`class_figures` are."""
        return 'accuracy' if self.notes.get('task') == 'table' else 'IoU'

    def class_figures(self, phase: Phase) -> dict[str, float]:
        """Class -> IoU, or accuracy of its images, in percent after a train phase; empty if it was not measured."""
        record = self.records.get(phase.name, {})
        listed = record.get('class_iou') or record.get('class_accuracy') or {}
        named = {key.removeprefix(CLASS_IOU): value for key, value in (record.get('metrics') or {}).items()
                 if key.startswith(CLASS_IOU)}  # fmt: skip
        return {name: float(value) for name, value in {**named, **listed}.items() if math.isfinite(value)}

    @cached_property
    def classes(self) -> list[str]:
        """Names of the classes; numbers as far as only these are known."""
        if self.notes.get('classes'):
            return [str(name) for name in self.notes['classes']]
        number = max((self.label_info(phase).get('num_classes') or 0 for phase in self.labels), default=0)
        return [str(index) for index in range(number)]

    def label_info(self, phase: Phase) -> dict[str, Any]:
        """Content of ``labels.json`` of a label phase; empty if there is none."""
        return read_json(self.work_dir / phase.name / 'labels.json') or {}

    def scalars(self, phase: Phase) -> list[dict[str, float]]:
        """What was logged in a train phase, by ascending ``step``.

        A later attempt replaces an earlier one from its first step on; steps beyond a complete phase are none of it.
        """
        found: dict[tuple[int, bool], dict[str, float]] = {}
        for path in sorted((self.work_dir / phase.name).glob('*/vis_data/*.json')):
            lines = [line for line in logged(path) if isinstance(line.get('step'), int)]
            first = min((line['step'] for line in lines), default=math.inf)
            found = {key: line for key, line in found.items() if key[0] <= first}
            found.update(((line['step'], 'loss' in line), line) for line in lines)
        last = self.records.get(phase.name, {}).get('steps') or math.inf
        return [found[key] for key in sorted(found) if key[0] <= last]

    def disk_bytes(self, phase: Phase) -> int:
        """Bytes that the folder of a phase takes."""
        files = (path for path in (self.work_dir / phase.name).rglob('*'))
        return sum(path.stat().st_size for path in files if path.is_file())


def _planned(plan: Any) -> list[Phase]:
    """The phases of a plan in ``dmt.json``; none if it cannot be read."""
    known = {field.name for field in fields(Phase)}
    try:
        return [Phase(**{key: value for key, value in item.items() if key in known}) for item in plan]
    except (TypeError, AttributeError):
        return []


def _found(work_dir: Path) -> list[Phase]:
    """The phases that have a folder."""
    names = sorted(path.name for path in work_dir.glob('[0-9][0-9]_*') if path.is_dir())
    return [_phase(match) for name in names if (match := _FOLDER.fullmatch(name))]


def _phase(match: re.Match) -> Phase:
    kind: Literal['train', 'label'] = 'train' if match[2] == 'train' else 'label'
    return Phase(match[0], kind, int(match[1]), match[3])


def logged(path: Path) -> Iterable[dict[str, Any]]:
    """The lines of a log file of mmengine that are whole."""
    for line in path.read_text(encoding='utf-8', errors='replace').splitlines():
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict):
            yield content

"""Estimates the time of a plan before it runs, from the steps and batches that the rehearsal takes."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from mmengine.config import Config

from mmdmt.core.schedule import Phase
from mmdmt.engine.hooks.pace_hook import PaceHook
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.run_data import RunData
from mmdmt.engine.settings import stage_of

VALIDATION = 'val'


class Pace:
    """Measured seconds per image, of each model and kind of work: ``supervised``, ``semi``, ``label``, ``val``."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str], float] = {}
        self._tried: dict[tuple[str, str], float] = {}
        self._memory: dict[str, int] = {}

    def add(self, phase: Phase, measured: PaceHook, seconds: float, memory: int | None = None) -> None:
        """Add what was measured when a phase was tried.

        Args:
            phase: The phase.
            measured: What a step or batch took.
            seconds: What the phase took in all: mostly its start and end.
            memory: Peak of the memory of a GPU in MiB.
        """
        if memory:
            self._memory[phase.name] = memory
        self._tried[phase.model, kind_of(phase)] = seconds
        found = {kind_of(phase): measured.work, VALIDATION: measured.validation}
        self._seconds.update({(phase.model, kind): value for kind, value in found.items() if value is not None})

    @property
    def measured(self) -> bool:
        """Whether anything was."""
        return bool(self._seconds)

    def seconds(self, data: RunData, phase: Phase) -> float | None:
        """Estimated seconds of a phase; None if its kind was not measured."""
        each = self._seconds.get((phase.model, kind_of(phase)))
        number = work_of(data, phase)
        if not number:
            return 0.0
        if each is None:
            return None
        each_phase = self._tried[phase.model, kind_of(phase)]
        if phase.kind == 'label':
            return number * each + each_phase
        config = data.phases[phase.name].config
        steps = number * config.train_dataloader.batch_size * each
        return steps + self._validations(data, phase.model, config) + each_phase

    def _validations(self, data: RunData, model: str, config: Config) -> float:
        """Estimated seconds of all validations of a phase."""
        each, loader = self._seconds.get((model, VALIDATION)), config.get('val_dataloader')
        if each is None or not loader:
            return 0.0
        images = len(data.dataset(loader.dataset.to_dict(), 'val_dataloader.dataset'))
        return each * images * -(-config.train_cfg.max_iters // config.train_cfg.val_interval)

    def by_kind(self, data: RunData) -> dict[str, float]:
        """Kind -> estimated seconds of a step or of an image to label, as far as measured."""
        spent: dict[str, float] = {}
        number: dict[str, int] = {}
        for resolved in data.phases.values():
            seconds, kind = self.seconds(data, resolved.phase), kind_of(resolved.phase)
            if seconds:
                spent[kind] = spent.get(kind, 0.0) + seconds
                number[kind] = number.get(kind, 0) + work_of(data, resolved.phase)
        return {kind: spent[kind] / number[kind] for kind in spent}

    def describe(self, manifest: Manifest, data: RunData) -> str:
        """One line for the plan: the time of all phases that are not complete."""
        left = [phase for phase in manifest.phases if not manifest.is_complete(phase.name)]
        seconds = {phase.name: self.seconds(data, phase) for phase in left}
        unknown = [name for name, value in seconds.items() if value is None]
        if unknown:
            why = f'{unknown[0]} was not tried' if self.measured else 'no phase was tried for a step'
            return f'time: not estimated ({why})'
        whole = timedelta(seconds=round(sum(value or 0.0 for value in seconds.values())))
        return f'time: roughly {whole}, from one step or batch of each kind, of which the first is the slowest'

    def describe_memory(self) -> str:
        """One line for the plan: the GPU memory of the phase that needs most; empty without a GPU."""
        if not self._memory:
            return ''
        name = max(self._memory, key=self._memory.__getitem__)
        return f'GPU memory: about {self._memory[name]:,} MiB at most ({name}), beside what CUDA itself needs'


def kind_of(phase: Phase) -> str:
    """Kind of work of a phase: ``supervised``, ``semi`` or ``label``."""
    return 'label' if phase.kind == 'label' else stage_of(phase)


def work_of(data: RunData, phase: Phase) -> int:
    """Steps of a train phase, or images of a label phase; 0 for one that a checkpoint replaces."""
    if phase.kind == 'label':
        return data.models[phase.model].num_unlabeled
    return 0 if data.plan.settings.supervised_checkpoint(phase) else data.phases[phase.name].steps


def workers_of(config: Mapping[str, Any]) -> int:
    """Workers of the training loader of a config."""
    return (config.get('train_dataloader') or {}).get('num_workers', 0)

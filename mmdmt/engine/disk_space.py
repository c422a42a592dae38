"""The disk space that a run will take, compared with what is free."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmdmt.config_dicts import type_name
from mmdmt.core.schedule import Phase
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.run_data import RunData
from mmdmt.engine.settings import stage_of
from mmdmt.errors import DiskFullError
from mmdmt.files import free_space, megabytes
from mmdmt.labels.stores import STORES

AT_A_TIME = 3  # two that stay, and the one being written
# Class maps are compressed, nearly to nothing for simple ones; the confidence codes, two bytes of three, are not.
SURE_OF_LABELS = 2 / 3


@dataclass(frozen=True)
class DiskSpace:
    """Bytes that the phases still to run take at the same time.

    ``labels``: upper bound of the pseudo labels. ``kept``: weights that complete phases hand over. ``running``: three
    checkpoints of the largest phase, with the state of its optimizer. ``result``: ``best.pth``, and the same weights as
    safetensors.
    """

    labels: int
    kept: int
    running: int
    result: int

    @property
    def sure(self) -> int:
        """What a run takes at least."""
        return round(self.labels * SURE_OF_LABELS) + self.kept + self.running + self.result

    def describe(self) -> str:
        """One line for the plan."""
        return (
            f'checkpoints: {megabytes(self.kept)} of complete phases, {megabytes(self.running)} for the running one, '
            f'{megabytes(self.result)} for the result'
        )


def disk_space(manifest: Manifest, data: RunData) -> DiskSpace:
    """Estimate the space for the phases of a run that are not complete. The models must have been checked before."""
    settings = data.plan.settings
    left = [phase for phase in manifest.phases if not manifest.is_complete(phase.name)]
    trains = [phase for phase in left if phase.kind == 'train']
    weights = {phase.name: _weights(data, phase) for phase in trains}
    kept = sorted(weights.values())
    if not settings.keep_checkpoints:
        kept = kept[-2 * len(settings.models) :]
    running = [_with_optimizer(data, phase) for phase in trains if not settings.supervised_checkpoint(phase)]
    result = 2 * max(data.weight_bytes.values()) if left else 0
    labels = [data.label_bytes(phase.model) for phase in left if phase.kind == 'label']
    return DiskSpace(held_labels(data, labels), sum(kept), AT_A_TIME * max(running, default=0), result)


def held_labels(data: RunData, each: Sequence[int]) -> int:
    """Bytes of labels that lie on the disk at the same time, from those of each label phase."""
    settings = data.plan.settings
    keep = settings.keep_labels or STORES[data.plan.task.store].always_kept
    return sum(each) if keep else max(each, default=0)


def check_space(manifest: Manifest, data: RunData) -> None:
    """Compare what a run takes at least with the free space.

    Raises:
        DiskFullError: if it does not fit; names the work dir, what is needed and what is free.
    """
    space, free = disk_space(manifest, data), free_space(manifest.work_dir)
    left = [manifest.folder(phase.name) for phase in manifest.phases if not manifest.is_complete(phase.name)]
    there = sum(path.stat().st_size for folder in left for path in folder.rglob('*') if path.is_file())
    if space.sure - there > free:
        raise DiskFullError(
            f'{manifest.work_dir} has {megabytes(free)} of free disk space, but the run needs '
            f'{megabytes(space.sure - there)} or more: labels at most {megabytes(space.labels)}; {space.describe()}. '
            'Choose another --work-dir, or set dmt.keep_labels=False, dmt.keep_checkpoints=False'
        )


def _weights(data: RunData, phase: Phase) -> int:
    config = data.plan.configs[phase.model][stage_of(phase)]
    averaged = any('EMA' in (type_name(hook) or '') for hook in config.get('custom_hooks') or ())
    return data.weight_bytes[phase.model] * (2 if averaged else 1)


def _with_optimizer(data: RunData, phase: Phase) -> int:
    optimizer = (data.plan.configs[phase.model][stage_of(phase)].get('optim_wrapper') or {}).get('optimizer') or {}
    return _weights(data, phase) + data.weight_bytes[phase.model] * _states(optimizer)


def _states(optimizer: Mapping[str, Any]) -> int:
    """How many numbers an optimizer keeps for each weight: 2 for Adam and those not known."""
    if type_name(optimizer) == 'SGD':
        return 1 if optimizer.get('momentum') else 0
    return 2

"""What a phase was begun with: settings and data. A resumed run must have the same."""

import hashlib
import shutil
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process

from mmdmt.core.schedule import Phase
from mmdmt.datasets.building import list_name
from mmdmt.engine import divergence
from mmdmt.engine.manifest import INPUTS, Manifest, checkpoints, describe_changes, flatten
from mmdmt.engine.phase_config import OWN_HOOKS, ResolvedPhase
from mmdmt.engine.run_data import RunData
from mmdmt.engine.settings import stage_of
from mmdmt.errors import UserError
from mmdmt.files import write_json
from mmdmt.labels.stores import STORES

STEPS = 'optimizer steps'


class PhaseInputs:
    """Settings and data of the phases of a run, as they are now and as they were when a phase began.

    Each phase stores its own, with the config of the run, in ``PHASE/inputs.json``. Paths in the work dir are relative,
    and images are compared by number, file name, class and order, so that work dir and data can be moved.

    Args:
        manifest: The run.
        data: Its prepared data.
    """

    def __init__(self, manifest: Manifest, data: RunData) -> None:
        self.manifest, self.data = manifest, data
        self._listed: dict[str, str] = {}

    @cached_property
    def now(self) -> dict[str, dict[str, str]]:
        """Name of each phase -> key -> value."""
        return {name: self._of(resolved) for name, resolved in self.data.phases.items()}

    def check(self, accept: bool = False) -> list[str]:
        """Compare each phase that has begun; delete what a phase to start again has written.

        A phase starts again with changed settings if it has diverged, or if ``accept`` is True. A complete phase keeps
        its result.

        Returns:
            One line for each phase with other settings.

        Raises:
            UserError: if a phase has begun with other settings; names the phase, the keys and both values.
        """
        changed = {phase.name: self._changes(phase.name) for phase in self.manifest.phases}
        changed = {name: changes for name, changes in changed.items() if changes}
        complete = {name for name in changed if self.manifest.is_complete(name)}
        refused = [name for name in changed if not accept and (name in complete or self._would_lose(name))]
        if refused:
            raise UserError(self._refusal(refused[0], refused[0] in complete, changed[refused[0]]))
        barrier()
        if is_main_process():
            for name in changed:
                if name in complete:
                    self._accept(name)
                else:
                    _clear(self.manifest.folder(name))
        barrier()
        return [
            f'Phase {name} {"keeps its result" if name in complete else "starts again"}; changed settings: {changes}'
            for name, changes in changed.items()
        ]

    def require_same(self) -> None:
        """Compare each complete phase; change nothing.

        Raises:
            UserError: if one has begun with other settings; names the phase, the keys and both values.
        """
        for phase in self.manifest.phases:
            changes = self._changes(phase.name) if self.manifest.is_complete(phase.name) else ''
            if changes:
                raise UserError(
                    f'phase {phase.name} in {self.manifest.work_dir} is complete with another config ({changes}): use '
                    'the config of the run, which its work dir holds'
                )

    def store(self, name: str, cfg: Config) -> None:
        """Store the inputs of a phase that begins, and the config of the run."""
        folder = self.manifest.folder(name)
        write_json(folder / INPUTS, dict(run=flatten(cfg), inputs=self.now[name]))
        (folder / divergence.MARK).unlink(missing_ok=True)  # of the attempt before

    def _accept(self, name: str) -> None:
        stored = self.manifest.inputs(name) or {}
        write_json(self.manifest.folder(name) / INPUTS, {**stored, 'accepted': self.now[name]})

    def _changes(self, name: str) -> str:
        stored = self.manifest.inputs(name)
        if stored is None:
            return ''
        before, now = (_on_any_device(leaves) for leaves in (stored.get('accepted', stored['inputs']), self.now[name]))
        if self.manifest.is_complete(name):  # it may go on with another number of processes
            before[STEPS] = now[STEPS]
        return describe_changes(before, now)

    def _would_lose(self, name: str) -> bool:
        """Whether starting a phase again would lose work."""
        folder = self.manifest.folder(name)
        if (folder / divergence.MARK).is_file():
            return False
        return bool(checkpoints(folder) or STORES[self.data.plan.task.store](folder).names())

    def _refusal(self, name: str, complete: bool, changes: str) -> str:
        what = 'is complete' if complete else 'has begun'
        effect = 'keep its result' if complete else 'start it again'
        return (
            f'phase {name} in {self.manifest.work_dir} {what} with another config ({changes}): restore that config to '
            f'continue the run, or add --accept-changes to {effect} and use the new config from now on'
        )

    def _of(self, resolved: ResolvedPhase) -> dict[str, str]:
        """Settings and data of a phase, as text."""
        phase, cfg = resolved.phase, resolved.config.to_dict()
        hooks = [hook for hook in cfg.get('custom_hooks') or () if hook.get('type') not in OWN_HOOKS]
        cfg.update(custom_hooks=hooks, load_from=Path(cfg.get('load_from') or '').name, **self._length(phase))
        leaves = {**flatten(Config(cfg)), 'dmt.select': self.data.plan.settings.select, STEPS: str(resolved.steps)}
        leaves.update({f'phase.{key}': repr(value) for key, value in vars(phase).items()})
        leaves.update({f'images of {key}': self._images(config, key) for key, config in self._datasets(resolved)})
        return {key: value.replace(f'{self.manifest.work_dir}/', '') for key, value in leaves.items()}

    def _length(self, phase: Phase) -> dict[str, Any]:
        """Loop and schedulers of a train phase as configured, before they get its number of steps."""
        if phase.kind == 'label':
            return {}
        stage, own = self.data.plan.settings.stage(phase), self.data.plan.configs[phase.model][stage_of(phase)]
        length = {key: stage.get(key) for key in ('epochs', 'iters', 'min_iters')}
        return dict(param_scheduler=own.get('param_scheduler'), train_cfg={**(own.get('train_cfg') or {}), **length})

    def _datasets(self, resolved: ResolvedPhase) -> Iterable[tuple[str, dict]]:
        """Config key and config of each dataset of a phase."""
        phase, data = resolved.phase, resolved.data
        if phase.kind == 'train':
            yield 'dmt.labeled', data.labeled[stage_of(phase)]
        if not phase.supervised:
            yield 'dmt.unlabeled', data.unlabeled
        loader = self.data.plan.configs[phase.model][None].get('val_dataloader') or {}
        validation = data.held_out or loader.get('dataset')
        if phase.kind == 'train' and validation:
            yield 'val_dataloader.dataset', validation

    def _images(self, config: dict, key: str) -> str:
        """Number, list file and digest of the names of the images of a dataset."""
        mark = repr(config)
        if mark not in self._listed:
            dataset = self.data.dataset(config, key)
            infos = (dataset.get_data_info(idx) for idx in range(len(dataset)))
            names = [f'{Path(info.get("img_path", "")).name} {info.get("gt_label", "")}' for info in infos]
            digest = hashlib.sha256('\n'.join(names).encode()).hexdigest()[:12]
            self._listed[mark] = f'{len(names)} ({list_name(config)}), names {digest}'
        return self._listed[mark]


def _on_any_device(leaves: dict[str, str]) -> dict[str, str]:
    """Settings that are equal on a GPU and a CPU: ``--amp`` chooses the wrapper by the device."""
    chosen = {repr('CPUAmpOptimWrapper'): repr('AmpOptimWrapper')}
    return {key: chosen.get(value, value) for key, value in leaves.items()}


def _clear(folder: Path) -> None:
    """Delete all that a phase has written but its logs, whose folders are named by their time."""
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()
        elif not path.name[0].isdigit():
            shutil.rmtree(path)

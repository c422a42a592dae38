"""The runner of a whole DMT run."""

import copy
import gc
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import barrier, init_dist, is_distributed, is_main_process
from mmengine.fileio import isfile
from mmengine.logging import MMLogger
from mmengine.registry import RUNNERS, init_default_scope
from mmengine.runner import CheckpointLoader, Runner

from mmdmt.core.schedule import Phase
from mmdmt.engine import report, result
from mmdmt.engine.environment import check_package_families
from mmdmt.engine.fidelity import published_behaviours
from mmdmt.engine.manifest import Manifest, latest_checkpoint
from mmdmt.engine.phase_config import ResolvedPhase, final_config
from mmdmt.engine.phase_runner import PhaseRunner, release, run_phase
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.rehearsal import rehearse
from mmdmt.engine.run_data import RunData
from mmdmt.engine.take_over import take_over
from mmdmt.engine.tta import enable_tta
from mmdmt.errors import MissingFileError, UserError
from mmdmt.files import sweep, write_text
from mmdmt.labels.stores import STORES


@RUNNERS.register_module()
class DMTRunner:
    """Run DMT (Alg. 1 of arXiv 2004.08514) as a sequence of ordinary mmengine runs.

    Each phase has its own folder in the work dir, with its own log, config and checkpoint. See
    :class:`~mmdmt.engine.settings.DMTSettings` for the ``dmt`` dict that defines the run.

    Args:
        cfg: A DMT config; ``work_dir`` must be set.

    Raises:
        RuntimeError: if both OpenMMLab package families are installed.
        ValueError: if the ``dmt`` dict is not valid.
    """

    def __init__(self, cfg: Config) -> None:
        check_package_families()
        self.plan = RunPlan.of(cfg)
        self.cfg, self.settings = cfg, self.plan.settings
        self.work_dir = Path(cfg.work_dir).resolve()
        self.manifest = Manifest(self.work_dir, self.plan.phases)
        self.data = RunData(self.plan, self.work_dir)

    @classmethod
    def from_cfg(cls, cfg: Config) -> 'DMTRunner':
        """Build a runner from a config, as ``RUNNERS.build`` does."""
        return cls(cfg)

    # Public operations

    def train(self, phase: str | None = None) -> None:
        """Run all incomplete phases, or only the named one.

        Raises:
            FileExistsError: if the work dir holds a run and the config does not set ``resume``.
            FileNotFoundError, ValueError: if data, weights or the config are missing or not valid.
            FloatingPointError: if a loss is not finite.
        """
        chosen = self._chosen(phase)
        self._init_dist()
        self.manifest.check(self.cfg, resume=bool(self.cfg.get('resume')) or phase is not None)
        barrier()  # no process may write before all have checked
        self.data.prepare(self.work_dir / 'splits')
        todo = [item for item in chosen if not self.manifest.is_complete(item.name)]
        if todo and is_main_process():
            self.data.check()
            for warning in self.data.warnings:
                self._logger.warning(warning)
            self._rehearse()
            self.manifest.start(self.cfg)
            sweep(self.work_dir)
        barrier()
        self._logger.info(f'{len(self.manifest.phases)} phases, {len(todo)} of them to run, in {self.work_dir}')
        for behaviour in published_behaviours(self.plan):
            self._logger.info(f'Behavior of the published code: {behaviour}')
        for item in todo:
            self._run(self.data.phases[item.name])
        if all(self.manifest.is_complete(item.name) for item in self.manifest.phases):
            self._finish()

    def dry_run(self) -> str:
        """Check everything and describe the plan; write nothing."""
        init_default_scope(self.cfg.get('default_scope', 'mmseg'))
        with tempfile.TemporaryDirectory() as folder:
            self.data.prepare(Path(folder))
            self.data.check()
            self._rehearse()
            return report.describe_plan(self.manifest, self.data, published_behaviours(self.plan))

    def test(self, tta: bool = False) -> dict[str, float]:
        """Test ``load_from``, or the result of the run, on the test set; ``tta`` averages several views per image."""
        self._init_dist()
        cfg = self._with_checkpoint()
        if tta:
            enable_tta(cfg)
        return Runner.from_cfg(cfg).test()

    def val(self) -> dict[str, float]:
        """Validate ``load_from``, or the result of the run, on the validation set."""
        self._init_dist()
        return Runner.from_cfg(self._with_checkpoint()).val()

    # Preparation

    def _rehearse(self) -> None:
        """Try the first phases in miniature; skipped with several processes, since all would have to take part."""
        if not self.settings.rehearse:
            return
        if is_distributed():
            self._logger.info('Not rehearsed: only a run of one process tries its first phases in miniature')
            return
        with tempfile.TemporaryDirectory() as folder:
            rehearse(self.data, Path(folder))

    def _chosen(self, name: str | None) -> list[Phase]:
        phases = self.manifest.phases
        if name is None:
            return phases
        found = [phase for phase in phases if phase.name == name]
        if not found:
            raise UserError(f'--phase {name!r} is not one of {", ".join(phase.name for phase in phases)}')
        missing = self.manifest.missing(found[0])
        if missing:
            raise UserError(f'phase {name} needs phase(s) {" and ".join(missing)} to be complete in {self.work_dir}')
        return found

    def _init_dist(self) -> None:
        init_default_scope(self.cfg.get('default_scope', 'mmseg'))
        launcher = self.cfg.get('launcher', 'none')
        if launcher == 'none' or is_distributed():
            return
        if torch.cuda.is_available():
            init_dist(launcher, **self.cfg.get('env_cfg', {}).get('dist_cfg', dict(backend='nccl')))
        else:  # mmengine's init_dist requires a GPU
            torch.distributed.init_process_group('gloo')

    def _set_launcher(self, cfg: Config) -> None:
        """Make ``cfg`` use the processes of this run."""
        cfg.launcher = self.cfg.get('launcher', 'none')
        if is_distributed() and not torch.cuda.is_available() and not cfg.get('model_wrapper_cfg'):
            cfg.model_wrapper_cfg = dict(
                type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False,
                find_unused_parameters=cfg.get('find_unused_parameters', False),
            )  # fmt: skip

    @cached_property
    def _logger(self) -> MMLogger:
        self.work_dir.mkdir(parents=True, exist_ok=True)
        return MMLogger(
            'mmdmt', log_file=str(self.work_dir / 'dmt.log'), log_level=self.cfg.get('log_level', 'INFO'), file_mode='a'
        )

    # Execution

    def _run(self, resolved: ResolvedPhase) -> None:
        """Run one phase to its end, in its own Runner."""
        phase = resolved.phase
        number = self.manifest.phases.index(phase) + 1
        self._logger.info(f'Phase {number} of {len(self.manifest.phases)}: {phase.name}')
        cfg = self._bound(resolved)
        torch.backends.cudnn.benchmark = False  # a Runner enables it but never disables it
        supervised = self.settings.supervised_checkpoint(phase)
        if supervised is not None:
            release(take_over(PhaseRunner, cfg, phase, supervised))
        else:
            cfg.custom_hooks.append(self._time_left(phase, number))
            run_phase(cfg, phase)
        gc.collect()  # the loaders' workers end with their last reference
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        barrier()
        self._discard_used_labels()

    def _bound(self, resolved: ResolvedPhase) -> Config:
        """Complete the config of a phase with the results of earlier phases or of an interrupted attempt."""
        phase = resolved.phase
        if phase.labels is not None:
            self._check_labels(phase.labels)
        cfg = copy.deepcopy(resolved.config)
        if phase.init is not None:
            cfg.load_from = str(self.manifest.checkpoint(phase.init))
        if phase.kind == 'train':
            self._continue(cfg)
        self._set_launcher(cfg)
        return cfg

    def _check_labels(self, label_phase: str) -> None:
        """Raise FileNotFoundError if the labels of a complete phase were deleted."""
        folder = self.manifest.folder(label_phase)
        if not STORES[self.plan.task.store](folder).names():
            raise MissingFileError(
                f'the pseudo labels in {folder} were deleted after use; delete that folder to recreate them'
            )

    def _continue(self, cfg: Config) -> None:
        """Resume a train phase from the last checkpoint of an interrupted attempt, if there is one."""
        folder = Path(cfg.work_dir)
        interrupted = latest_checkpoint(folder) if is_main_process() else None
        barrier()
        interrupted = interrupted or latest_checkpoint(folder)
        if interrupted is not None:
            self._logger.info(f'Resuming from {interrupted}')
            cfg.load_from, cfg.resume = str(interrupted), True

    def _time_left(self, phase: Phase, number: int) -> dict[str, Any]:
        """Config of the hook that logs the time left, with the work that follows a phase."""
        later = [item for item in self.manifest.phases[number:] if not self.manifest.is_complete(item.name)]
        return dict(
            type='TimeLeftHook',
            phase=phase.name,
            position=(number, len(self.manifest.phases)),
            later_steps=sum(self.data.phases[item.name].steps for item in later),
            later_images=sum(self.data.models[item.model].num_unlabeled for item in later if item.kind == 'label'),
            step_seconds=self._rate('steps'),
            image_seconds=self._rate('images'),
        )

    def _rate(self, unit: str) -> float | None:
        """Measured seconds per training step or labeled image; None if nothing was measured yet."""
        records = [self.manifest.record(phase.name) or {} for phase in self.manifest.phases]
        measured = [record for record in records if record.get(unit)]
        if not measured:
            return None
        return sum(record['seconds'] for record in measured) / sum(record[unit] for record in measured)

    def _discard_used_labels(self) -> None:
        if self.settings.keep_labels or not is_main_process():
            return
        for phase in self.manifest.phases:
            if phase.labels is not None and self.manifest.is_complete(phase.name):
                STORES[self.plan.task.store](self.manifest.folder(phase.labels)).discard()

    # Result

    def _finish(self) -> None:
        """Write ``best.pth``, its config and the report."""
        if not is_main_process():
            return
        best = result.best_phase(self.manifest, self.settings.metric)
        result.export(self.manifest, self.plan, best)
        text = report.render(self.manifest, self.settings, best, published_behaviours(self.plan))
        write_text(self.work_dir / 'report.md', text)
        self._logger.info('Report, also in ' + str(self.work_dir / 'report.md') + '\n' + text)

    def _with_checkpoint(self) -> Config:
        path = self.cfg.get('load_from') or str(self.work_dir / 'best.pth')
        if not isfile(path):
            raise MissingFileError(f'checkpoint {path} does not exist')
        checkpoint = CheckpointLoader.load_checkpoint(path, map_location='cpu')
        model = checkpoint.get('meta', {}).get('dmt', {}).get('model', next(iter(self.settings.models)))
        cfg = final_config(self.plan, model)
        cfg.merge_from_dict(dict(load_from=self._predictor(path, checkpoint), work_dir=str(self.work_dir)))
        self._set_launcher(cfg)
        return cfg

    def _predictor(self, path: str, checkpoint: dict) -> str:
        """Path of a checkpoint of the model that predicts; the one of a method is taken from its checkpoint."""
        if 'predictor_prefix' not in checkpoint.get('meta', {}).get('dmt', {}):
            return path
        if is_main_process():
            result.predictor_file(path, self.work_dir)
        barrier()
        return str(self.work_dir / f'predictor_{Path(path).name}')

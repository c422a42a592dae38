"""The runner of a whole DMT run."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import barrier, is_distributed, is_main_process
from mmengine.logging import MMLogger
from mmengine.registry import RUNNERS, init_default_scope

from mmdmt.core.schedule import Phase
from mmdmt.engine import report, reporting, result
from mmdmt.engine.cli import write_config
from mmdmt.engine.console import FILE_ONLY, show
from mmdmt.engine.disk_space import check_space
from mmdmt.engine.evaluation import Subset, evaluation_config
from mmdmt.engine.fidelity import published_behaviours
from mmdmt.engine.garbage import known_objects_unsearched
from mmdmt.engine.locks import claimed, planning
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.pace import Pace
from mmdmt.engine.phase_inputs import PhaseInputs
from mmdmt.engine.phase_sequence import PhaseSequence
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.processes import first_alone, join_processes, lost_processes_named, use_processes
from mmdmt.engine.rehearsal import rehearse
from mmdmt.engine.repair import Repair
from mmdmt.engine.run_data import RunData
from mmdmt.engine.screen_runner import run_alone
from mmdmt.engine.stop_signals import Stopped, listening
from mmdmt.engine.trackers import trackers_of
from mmdmt.engine.tta import enable_tta
from mmdmt.errors import UserError
from mmdmt.files import check_folder, sweep, write_text
from mmdmt.processors import crowded
from mmdmt.untrusted import untrusted_files


@RUNNERS.register_module()
class DMTRunner:
    """Run DMT (Alg. 1 of arXiv 2004.08514) as a sequence of ordinary mmengine runs.

    Each phase has its own folder in the work dir, with its own log, config and checkpoint. See
    :class:`~mmdmt.engine.settings.DMTSettings` for the ``dmt`` dict that defines the run.

    Args:
        cfg: A DMT config; ``work_dir`` must be set.

    Raises:
        ValueError: if the ``dmt`` dict is not valid.
    """

    def __init__(self, cfg: Config) -> None:
        self.plan = RunPlan.of(cfg)
        self.cfg, self.settings = cfg, self.plan.settings
        self.work_dir = Path(cfg.work_dir).resolve()
        self.manifest = Manifest(self.work_dir, self.plan.phases)
        self.data = RunData(self.plan, self.work_dir)
        self.inputs = PhaseInputs(self.manifest, self.data)
        self._pace = Pace()

    @classmethod
    def from_cfg(cls, cfg: Config) -> 'DMTRunner':
        """Build a runner from a config, as ``RUNNERS.build`` does."""
        return cls(cfg)

    # Public operations

    @untrusted_files()
    def train(self, phase: str | None = None, accept_changes: bool = False) -> None:
        """Run all incomplete phases, or only the named one.

        Args:
            phase: Name of a phase.
            accept_changes: Go on with another config than that of the phases that have begun: complete ones keep their
                result, others start again.

        Raises:
            FileExistsError: if the work dir holds a run and the config does not set ``resume``.
            FileNotFoundError, ValueError: if data, weights or the config are missing or not valid.
            FloatingPointError: if a loss or weights are not finite.
            LostProcessError: if another process of the run has ended, or does not answer.
            Stopped: if a signal asks for it, after the state was saved.
        """
        with listening(), self._processes():
            try:
                self._train(phase, accept_changes)
            except Stopped as stopped:
                self._logger.info(f'The run was {stopped}; its state is saved, and --resume continues it')
                raise

    def _train(self, phase: str | None, accept_changes: bool) -> None:
        chosen = self._chosen(phase)
        check_folder(self.work_dir)
        trackers_of(self.cfg)
        resume = bool(self.cfg.get('resume'))
        self.manifest.check(self.cfg, resume=resume or phase is not None)
        if resume and not self.manifest.path.is_file():
            self._logger.warning(f'--resume: {self.work_dir} holds no run yet, so a new one starts')
        barrier()  # no process may write before all have checked
        claim = claimed(self.work_dir, [item.name for item in chosen] if is_main_process() else [])
        with claim, known_objects_unsearched():
            self._train_claimed(chosen, accept_changes)

    def _train_claimed(self, chosen: list[Phase], accept_changes: bool) -> None:
        self.data.prepare(self.work_dir / 'splits')
        for line in self.inputs.check(accept_changes):
            self._logger.warning(line)
        todo = self._todo(chosen)
        first_alone(lambda: self._prepare(todo))
        self._logger.info(f'{len(self.manifest.phases)} phases, {len(todo)} of them to run, in {self.work_dir}')
        for behaviour in published_behaviours(self.plan):
            self._logger.info(f'Behavior of the published code: {behaviour}')
        if todo and (hint := crowded()):
            self._logger.warning(hint)
        if todo and self._pace.measured:
            for line in filter(None, (self._pace.describe(self.manifest, self.data), self._pace.describe_memory())):
                self._logger.info(line)
        if todo:
            phases = PhaseSequence(self.cfg, self.data, self.inputs, self._pace, self._logger)
            phases.run(todo, again=lambda: self._todo(chosen))
        if all(self.manifest.is_complete(item.name) for item in self.manifest.phases):
            self._finish()

    def _todo(self, chosen: list[Phase]) -> list[Phase]:
        """The chosen phases that are not complete, those with damaged files included."""
        repair = Repair(self.manifest, self.plan.task.store, self._logger.warning)
        first_alone(lambda: repair.reopen(chosen))
        return [item for item in chosen if not self.manifest.is_complete(item.name)]

    def _prepare(self, todo: list[Phase]) -> None:
        """Check all that can be checked before the first step, then write what run this is."""
        sweep(self.work_dir)
        if not todo:
            return
        for item in todo:
            check_folder(self.manifest.folder(item.name))
        self._logger.info('Checking the data' + ', and trying the first phases for a step' * self.settings.rehearse)
        self.data.check()
        for warning in self.data.warnings:
            self._logger.warning(warning)
        check_space(self.manifest, self.data)
        for warning in self._rehearse():
            self._logger.warning(warning)
        with planning(self.work_dir):
            self.manifest.check(self.cfg, resume=True)  # another process may have begun meanwhile
            self.manifest.start(self.cfg)
            write_config(self.cfg, self.work_dir)
        self.data.files.save()
        reporting.report(self.plan, self.manifest, self.data)

    @untrusted_files()
    @known_objects_unsearched()
    def dry_run(self) -> str:
        """Check everything and describe the plan; write nothing."""
        init_default_scope(self.cfg.get('default_scope', 'mmseg'))
        check_folder(self.work_dir)
        trackers_of(self.cfg)
        with tempfile.TemporaryDirectory() as folder:
            self.data.prepare(Path(folder) / 'splits')
            self.data.check()
            self.data.warnings += self._rehearse()
            costs = [self._pace.describe(self.manifest, self.data), self._pace.describe_memory()]
            return report.describe_plan(self.manifest, self.data, published_behaviours(self.plan), costs)

    @untrusted_files()
    def test(self, tta: bool = False) -> dict[str, float]:
        """Test ``load_from``, or the result of the run, on the test set; ``tta`` averages several views per image."""
        with self._processes():
            cfg = self._evaluation('test')
            if tta:
                enable_tta(cfg)
            return run_alone(cfg, 'test')

    @untrusted_files()
    def val(self) -> dict[str, float]:
        """Validate ``load_from``, or the result of the run, on the validation set."""
        with self._processes():
            return run_alone(self._evaluation('val'), 'val')

    # Preparation

    def _rehearse(self) -> list[str]:
        """Try the first phases in miniature; skipped with several processes, since all would have to take part.

        Returns:
            A warning if some were not tried.
        """
        if not self.settings.rehearse:
            return []
        if is_distributed():
            self._logger.info('Not rehearsed: only a run of one process tries its first phases in miniature')
            return []
        with tempfile.TemporaryDirectory() as folder:
            left, self._pace = rehearse(self.data, Path(folder))
        if not left:
            return []
        return [
            f'only the phases before {left[0]} were tried for one step, since they took long: a dry run on the machine '
            'that will train it tries all'
        ]

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

    @contextmanager
    def _processes(self) -> Iterator[None]:
        """Within a block, work together with the other processes of the launcher, if there is one."""
        init_default_scope(self.cfg.get('default_scope', 'mmseg'))
        with lost_processes_named(self.cfg):
            join_processes(self.cfg)
            yield

    @cached_property
    def _logger(self) -> MMLogger:
        self.work_dir.mkdir(parents=True, exist_ok=True)
        logger = MMLogger(
            'mmdmt', log_file=str(self.work_dir / 'dmt.log'), log_level=self.cfg.get('log_level', 'INFO'), file_mode='a'
        )
        show(logger, least=logging.INFO)
        return logger

    # Result

    def _finish(self) -> None:
        """Write ``best.pth``, its config and the report."""
        if not is_main_process():
            return
        best = result.best_phase(self.manifest, self.settings.metric)
        result.export(self.manifest, self.plan, best)
        conclusion = report.conclusion(self.manifest, self.settings, best, published_behaviours(self.plan))
        table = report.phase_table(self.manifest, self.settings)
        write_text(self.work_dir / 'report.md', f'{table}\n\n{conclusion}')
        reporting.report(self.plan, self.manifest, self.data)
        self._logger.info(f'All phases\n{table}', extra=FILE_ONLY)  # the screen has had a line of each
        self._logger.info(f'Report in {self.work_dir}, as report.html and report.md\n{conclusion}')

    def _evaluation(self, subset: Subset) -> Config:
        cfg = evaluation_config(self.plan, self.work_dir, subset)
        use_processes(cfg, self.cfg)
        return cfg

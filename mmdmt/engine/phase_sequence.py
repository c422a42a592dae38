"""Run the phases of a plan, one after the other."""

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import barrier, is_distributed, is_main_process
from mmengine.logging import MMLogger

from mmdmt.core.schedule import Phase
from mmdmt.engine import reporting
from mmdmt.engine.console import FILE_ONLY
from mmdmt.engine.discard import discard_used
from mmdmt.engine.manifest import latest_checkpoint
from mmdmt.engine.pace import Pace
from mmdmt.engine.phase_config import ResolvedPhase
from mmdmt.engine.phase_inputs import PhaseInputs
from mmdmt.engine.phase_runner import PhaseRunner, empty_memory, release, run_phase
from mmdmt.engine.processes import use_processes
from mmdmt.engine.run_data import RunData
from mmdmt.engine.take_over import take_over
from mmdmt.engine.watch import Watch
from mmdmt.errors import DamagedFileError, own_message

# A rotten disk shows its damage bit by bit: in training the labels that are read, in labeling all of the rest.
ATTEMPTS = 4


class PhaseSequence:
    """The phases of a run, each in its own Runner.

    Args:
        cfg: Config of the run.
        data: Its prepared and checked data.
        inputs: What its phases are begun with.
        pace: How long the phases take, as far as it is known.
        logger: Log of the run.
    """

    def __init__(self, cfg: Config, data: RunData, inputs: PhaseInputs, pace: Pace, logger: MMLogger) -> None:
        self._cfg, self._data, self._inputs, self._logger = cfg, data, inputs, logger
        self._plan, self._manifest = data.plan, inputs.manifest
        self._watch = Watch(self._manifest, data, logger, pace)

    def run(self, todo: list[Phase], again: Callable[[], list[Phase]]) -> None:
        """Run phases one after the other; where a file turns out damaged on the way, what it needs is made anew.

        Args:
            todo: Phases that are not complete, in order.
            again: Which they are after a file was found damaged.

        Raises:
            DamagedFileError: if files turn out damaged again and again, or one of several processes meets one.
        """
        try:
            self._run_repeatedly(todo, again)
        finally:
            self._watch.close()

    def _run_repeatedly(self, todo: list[Phase], again: Callable[[], list[Phase]]) -> None:
        for attempt in range(ATTEMPTS):
            try:
                for item in todo:
                    self._run(self._data.phases[item.name])
                return
            except DamagedFileError as error:
                if attempt + 1 == ATTEMPTS or is_distributed():  # with several processes, the others wait for this one
                    raise
                self._watch.stop_showing()
                self._logger.warning(own_message(error))
                todo = again()

    def _run(self, resolved: ResolvedPhase) -> None:
        """Run one phase to its end, in its own Runner."""
        phase = resolved.phase
        number = self._manifest.phases.index(phase) + 1
        for note in (f'Phase {number} of {len(self._manifest.phases)}', *resolved.notes):
            self._logger.info(f'{phase.name}: {note}', extra=FILE_ONLY)
        cfg = self._bound(resolved)
        torch.backends.cudnn.benchmark = False  # a Runner enables it but never disables it
        if is_main_process():
            self._inputs.store(phase.name, self._cfg)
        supervised = self._plan.settings.supervised_checkpoint(phase)
        if supervised is not None:
            release(take_over(PhaseRunner, cfg, phase, supervised))
        else:
            run_phase(cfg, phase, self._watch.hooks(phase))
        empty_memory()
        barrier()
        if is_main_process():
            self._watch.finished(phase)
            reporting.report(self._plan, self._manifest, self._data, phase)
            self._watch.send_pictures(phase)
            discard_used(self._manifest, self._plan.settings, self._plan.task.store)

    def _bound(self, resolved: ResolvedPhase) -> Config:
        """Complete the config of a phase with the results of earlier phases or of an interrupted attempt."""
        phase = resolved.phase
        cfg = copy.deepcopy(resolved.config)
        if phase.init is not None:
            cfg.load_from = str(self._manifest.checkpoint(phase.init))
        if phase.kind == 'train':
            self._continue(cfg)
            reporting.keep_class_figures(cfg)
        use_processes(cfg, self._cfg)
        return cfg

    def _continue(self, cfg: Config) -> None:
        """Resume a train phase from the last checkpoint of an interrupted attempt, if there is one."""
        folder = Path(cfg.work_dir)
        findings: list[str] = []
        if is_main_process():
            interrupted, findings = latest_checkpoint(folder)
        barrier()
        if not is_main_process():
            interrupted, _ = latest_checkpoint(folder)
        for finding in findings:
            self._logger.warning(finding)
        if interrupted is not None:
            self._logger.info(f'Resuming from {interrupted}')
            cfg.load_from, cfg.resume = str(interrupted), True

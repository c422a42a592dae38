"""What lets a user watch a run: the screen, the trackers and the alarms of each phase."""

import logging
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from PIL import Image

from mmdmt.core.schedule import Phase
from mmdmt.engine.hooks.alarm_hook import AlarmHook
from mmdmt.engine.hooks.screen_hook import ScreenHook
from mmdmt.engine.hooks.tracker_hook import TrackerHook
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.pace import Pace, kind_of, work_of
from mmdmt.engine.report import duration
from mmdmt.engine.run_data import RunData
from mmdmt.engine.screen import Screen, screen_for
from mmdmt.engine.time_left import TimeLeft
from mmdmt.engine.trackers import Tracker
from mmdmt.files import read_json

OF_LABELS = ('disagree', 'student_wins', 'mean_weight')
"""Statistics of pseudo labels that baselines log, too: 0, since they have none."""
PICTURES = ('label', 'weight', 'prediction')
"""Pictures that the report of a phase draws of some images, and that trackers get."""


class Watch:
    """Shows a run while it goes on. Only the first process does.

    Args:
        manifest: State of the run.
        data: Its data, prepared and checked.
        logger: Logger of the run.
        pace: What the rehearsal measured.
    """

    def __init__(self, manifest: Manifest, data: RunData, logger: logging.Logger, pace: Pace) -> None:
        self.manifest, self.data, self.logger, self.pace = manifest, data, logger, pace
        self.screen = screen_for(data.plan.cfg.get('log_level', 'INFO')) if is_main_process() else Screen()
        self.tracker = Tracker(data.plan.cfg, manifest.work_dir, logger) if is_main_process() else None

    def hooks(self, phase: Phase) -> list[Hook]:
        """The hooks that a phase gets beside those of its config."""
        if self.tracker is None:
            return []
        return [
            AlarmHook(
                phase.name, self._classes(phase), self._human(phase), self._before(phase), weighs=not phase.supervised
            ),
            TrackerHook(self.tracker, phase.model, self._offset(phase), OF_LABELS if phase.supervised else ()),
            ScreenHook(self.screen, self._title(phase), self._time_left(phase)),
        ]

    def finished(self, phase: Phase) -> None:
        """Print the line of a complete phase that stays."""
        record = self.manifest.record(phase.name) or {}
        self.logger.info(f'{self._title(phase)}: {", ".join(self._results(phase, record))}')

    def send_pictures(self, phase: Phase) -> None:
        """Send the pictures that the report of a complete phase has drawn."""
        if self.tracker is None:
            return
        record = self.manifest.record(phase.name) or {}
        step = self._offset(phase) + (record.get('steps') or 0)
        for kind in PICTURES:
            for path in sorted((self.manifest.folder(phase.name) / 'pictures').glob(f'*_{kind}.png')):
                image = np.array(Image.open(path).convert('RGB'))
                self.tracker.picture(f'{phase.model}/{kind}/{path.stem.removesuffix(f"_{kind}")}', image, step)

    def stop_showing(self) -> None:
        """Remove the live line, however a phase ended."""
        self.screen.end()

    def close(self) -> None:
        """End the runs of the trackers."""
        self.stop_showing()
        if self.tracker is not None:
            self.tracker.close()

    def _title(self, phase: Phase) -> str:
        return f'{self.manifest.phases.index(phase) + 1}/{len(self.manifest.phases)} {phase.name}'

    def _results(self, phase: Phase, record: dict[str, Any]) -> list[str]:
        """What a complete phase has reached, and how long it took."""
        metric = self.data.plan.settings.metric
        score = self.manifest.score(phase, metric)
        found = [] if score is None else [f'{metric} {score:.2f}']
        found += [f'coverage {record["coverage"]:.4f}'] if 'coverage' in record else []
        found += [f'label accuracy {record["accuracy"]:.2f}'] if 'accuracy' in record else []
        found += [f'not trained here: {record["taken_over"]}'] if 'taken_over' in record else []
        done = [f'{record[unit]} {unit} ' for unit in ('steps', 'images') if record.get(unit)]
        return [*found, f'{"".join(done)}in {duration(record.get("seconds", 0))}']

    def _classes(self, phase: Phase) -> list[str]:
        return self.data.sets.names(self.data.plan.num_classes(phase.model))

    def _human(self, phase: Phase) -> list[int] | None:
        """Number of labels of each class in the labeled images."""
        counts = self.data.sets.labeled_counts()
        return None if counts is None else counts[: self.data.plan.num_classes(phase.model)].tolist()

    def _before(self, phase: Phase) -> list[int] | None:
        """Number of used labels of each class in the last labels of the same teacher."""
        before = self.manifest.phases[: self.manifest.phases.index(phase)]
        labels = [other for other in before if (other.kind, other.model) == ('label', phase.model)]
        if phase.kind != 'label' or not labels:
            return None
        return (read_json(self.manifest.folder(labels[-1].name) / 'labels.json') or {}).get('kept_by_class')

    def _offset(self, phase: Phase) -> int:
        """Optimizer steps of all phases before."""
        before = self.manifest.phases[: self.manifest.phases.index(phase)]
        return sum(self.data.phases[other.name].steps for other in before)

    def _time_left(self, phase: Phase) -> TimeLeft:
        later: dict[str, int] = {}
        for other in self.manifest.phases[self.manifest.phases.index(phase) + 1 :]:
            if not self.manifest.is_complete(other.name):
                later[kind_of(other)] = later.get(kind_of(other), 0) + work_of(self.data, other)
        loader = self.data.phases[phase.name].config.get('train_dataloader') or {}
        seconds = {**self.pace.by_kind(self.data), **self._measured()}
        return TimeLeft(kind_of(phase), later, seconds, loader.get('batch_size') or 1)

    def _measured(self) -> dict[str, float]:
        """Kind -> seconds of a step or an image in complete phases."""
        spent: dict[str, float] = {}
        done: dict[str, int] = {}
        for phase in self.manifest.phases:
            record = self.manifest.record(phase.name) or {}
            number = record.get('images' if phase.kind == 'label' else 'steps')
            if number:
                spent[kind_of(phase)] = spent.get(kind_of(phase), 0.0) + record['seconds']
                done[kind_of(phase)] = done.get(kind_of(phase), 0) + number
        return {kind: spent[kind] / done[kind] for kind in done}

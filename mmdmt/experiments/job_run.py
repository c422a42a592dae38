"""One run of an experiment on disk: its config, its remaining work and its results."""

import json
import math
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdmt.analysis.label_analysis import why_not
from mmdmt.engine.manifest import Manifest, describe_changes, flatten, latest_checkpoint
from mmdmt.engine.plan import RunPlan
from mmdmt.errors import UserError
from mmdmt.experiments.configs import Experiment, job_config
from mmdmt.experiments.cost import Cost, cost_of
from mmdmt.experiments.jobs import Job
from mmdmt.experiments.table import LabelAccuracies, LabelAccuracy, Scores
from mmdmt.files import write_text


@dataclass(frozen=True)
class Evaluation:
    """A test of one checkpoint on one split; it writes its metrics to ``path``."""

    model: str
    split: str
    checkpoint: Path
    path: Path


class JobRun:
    """A job in the work dir of its experiment: the run in ``JOB/``, its config and log in ``JOB.py``, ``JOB.log``.

    The run's own files define what is complete, so a killed experiment knows as much as a finished one.

    Args:
        experiment: The checked plan.
        job: One of its jobs.
        work_dir: Work dir of the experiment.
    """

    def __init__(self, experiment: Experiment, job: Job, work_dir: Path) -> None:
        self.experiment = experiment
        self.job = job
        self.work_dir = work_dir
        self.folder = work_dir / job.name
        self.config_path = self.folder.with_name(self.folder.name + '.py')
        self.log_path = self.folder.with_name(self.folder.name + '.log')

    def write_config(self) -> None:
        """Write the config of the run unless it exists already.

        Raises:
            ValueError: if another config exists; names the keys that differ.
        """
        cfg = self._derive()
        if self.config_path.is_file():
            self._refuse_changes(cfg)
            return
        write_text(self.config_path, Config(cfg.to_dict(), format_python_code=False).pretty_text)

    def check(self) -> None:
        """Refuse a run that was started with another config than the plan defines now.

        Raises:
            ValueError: if the configs differ; names the keys that differ.
        """
        if self.config_path.is_file():
            self._refuse_changes(self._derive())

    def is_trained(self) -> bool:
        """Whether training is complete."""
        if not self.config_path.is_file():
            return False
        if self.job.role == 'oracle':
            return zipfile.is_zipfile(self._checkpoint(self.job.models[0]))  # completely written
        if self.job.role == 'method':
            complete = all(self._manifest.is_complete(phase.name) for phase in self._manifest.phases)
            return complete and (self.folder / 'best.py').is_file()  # what a run writes last, once
        return all(self._manifest.is_complete(self._last_phase(model)) for model in self.job.models)

    def is_complete(self) -> bool:
        """Whether nothing is left to train, to test or to analyze."""
        return self.is_trained() and not self.evaluations() and not self.to_analyse()

    def train_arguments(self) -> list[str]:
        """Arguments of ``tools/train.py`` that start the run, or resume a killed one."""
        arguments = [str(self.config_path), '--work-dir', str(self.folder)]
        if self.job.role == 'method':
            return [*arguments, '--resume']
        if self.job.role != 'oracle':
            return [*arguments, '--phase', self._last_phase(self.job.models[0])]
        checkpoint, _ = latest_checkpoint(self.folder, ordinary=True)
        # Without a checkpoint of its own, an ordinary run would resume from its initial weights.
        return arguments if checkpoint is None else [*arguments, '--resume', '--cfg-options', f'load_from={checkpoint}']

    def evaluations(self) -> list[Evaluation]:
        """Remaining tests of a trained run."""
        return [item for item in self._evaluations() if not item.path.is_file()]

    def test_arguments(self, evaluation: Evaluation) -> list[str]:
        """Arguments of ``tools/test.py``."""
        arguments = [str(self.config_path), str(evaluation.checkpoint), '--work-dir', str(self.folder / 'evaluation')]
        return [*arguments, '--json', str(evaluation.path), *(['--val'] if evaluation.split == 'val' else [])]

    def to_analyse(self) -> bool:
        """Whether the pseudo labels of a trained run still need to be compared with the masks."""
        return self._analysed and not self._analysis.is_file()

    def analyze_arguments(self) -> list[str]:
        """Arguments of ``tools/analyze.py``."""
        images = str(self._label_images)
        return [
            str(self.config_path), '--work-dir', str(self.folder), '--images', images, '--json', str(self._analysis)
        ]  # fmt: skip

    def label_accuracy(self) -> dict[str, LabelAccuracy]:
        """Teacher -> accuracy of its pseudo labels; empty if not measured yet."""
        if not self.is_trained() or not self._analysed or not self._analysis.is_file():
            return {}
        result = json.loads(self._analysis.read_text())
        found: dict[str, LabelAccuracy] = {}
        for phase in result['phases'].values():
            own = found.setdefault(phase['teacher'], LabelAccuracy({}, {}))
            own.selected[phase['iteration']] = _percent(phase['accuracy'])
            own.last_by_ratio.update(
                zip(result['label_ratios'], map(_percent, phase['accuracy_by_ratio']), strict=True)
            )
        return found

    def cost(self) -> Cost | None:
        """What the run itself cost; None if it is not trained or was not measured, like an Oracle."""
        if self.job.role == 'oracle' or not self.is_trained():
            return None
        return cost_of(self._manifest.record(phase.name) or {} for phase in self._manifest.phases)

    def results(self) -> dict[str, dict[str, dict[str, float]]]:
        """Split -> model -> metrics, for completed evaluations."""
        found: dict[str, dict[str, dict[str, float]]] = {'val': {}, 'test': {}}
        if not self.is_trained():
            return found
        if self._validated:
            for model in self.job.models:
                found['val'][model] = (self._manifest.record(self._last_phase(model)) or {})['metrics']
        for item in self._evaluations():
            if item.path.is_file():
                found[item.split][item.model] = json.loads(item.path.read_text())
        return found

    def _evaluations(self) -> list[Evaluation]:
        splits = ([] if self._validated else ['val']) + (
            ['test'] if self.job.data_set in self.experiment.tested else []
        )
        return [
            Evaluation(model, split, self._checkpoint(model), self.folder / 'evaluation' / f'{split}_{model}.json')
            for model in self.job.models
            for split in splits
        ]

    @property
    def _label_images(self) -> int:
        return self.experiment.plan.data_sets[self.job.data_set].label_images

    @property
    def _analysed(self) -> bool:
        return self.job.role == 'method' and self._label_images > 0 and why_not(self._plan) is None

    @property
    def _analysis(self) -> Path:
        return self.folder / 'evaluation' / f'labels_{self._label_images}.json'

    @property
    def _validated(self) -> bool:
        """Whether the run itself records all validation metrics of the checkpoints it hands over."""
        return self.job.role != 'oracle' and self._plan.settings.select == 'last'

    def _checkpoint(self, model: str) -> Path:
        if self.job.role == 'oracle':
            return self.folder / f'iter_{self._written.train_cfg.max_iters}.pth'
        return self._manifest.checkpoint(self._last_phase(model))

    def _last_phase(self, model: str) -> str:
        if self.job.role in ('baseline', 'control'):
            return f'00_train_{model}'
        return [item.name for item in self._manifest.phases if item.kind == 'train' and item.model == model][-1]

    def _derive(self) -> Config:
        baselines = {
            model: Manifest(self.work_dir / name, []).checkpoint(f'00_train_{model}')
            for model, name in zip(self.job.models, self.job.needs, strict=False)  # a baseline needs none
        }
        control = self.experiment.control[self.job.data_set].get(self.job.method, {})
        return job_config(self.experiment.plan, self.job, baselines, control)

    def _refuse_changes(self, cfg: Config) -> None:
        changes = describe_changes(flatten(self._written), flatten(cfg))
        if changes:
            raise UserError(
                f'{self.config_path} was run with another config ({changes}): restore the earlier plan and configs, '
                f'choose another --work-dir, or delete it and {self.folder} to run it again'
            )

    @cached_property
    def _written(self) -> Config:
        return Config.fromfile(self.config_path)

    @cached_property
    def _plan(self) -> RunPlan:
        return RunPlan.of(self._written)

    @cached_property
    def _manifest(self) -> Manifest:
        return Manifest(self.folder, self._plan.phases)


def _percent(share: float | None) -> float:
    return math.nan if share is None else 100 * share


def collect_labels(runs: list[JobRun], data_set: str) -> LabelAccuracies:
    """Accuracy of the pseudo labels of each method on a data set, in the order of the first seed's runs."""
    found: dict[tuple[str, str], dict[int, LabelAccuracy]] = {}
    for run in runs:
        if run.job.data_set == data_set:
            for model, accuracy in run.label_accuracy().items():
                found.setdefault((run.job.method, model), {})[run.job.seed] = accuracy
    return found


def collect_costs(runs: list[JobRun], data_set: str) -> dict[tuple[str, str], dict[int, Cost]]:
    """Cost of each run on a data set, in the order of the first seed's runs."""
    found: dict[tuple[str, str], dict[int, Cost]] = {}
    for run in runs:
        cost = run.cost() if run.job.data_set == data_set else None
        if cost is not None:
            found.setdefault((run.job.method, '+'.join(run.job.models)), {})[run.job.seed] = cost
    return found


def collect(runs: list[JobRun], data_set: str, split: str) -> Scores:
    """Metrics on one split of a data set, in the order of the first seed's runs, the Oracle (also another's) last."""
    scores: dict[tuple[str, str], dict[int, Any]] = {}
    for run in runs:
        other = run.experiment.plan.oracle_of(data_set)
        if run.job.data_set == data_set or (run.job.role == 'oracle' and run.job.data_set == other):
            for model, metrics in run.results()[split].items():
                scores.setdefault((run.job.method, model), {})[run.job.seed] = metrics
    return dict(sorted(scores.items(), key=lambda item: item[0][0] == 'oracle'))

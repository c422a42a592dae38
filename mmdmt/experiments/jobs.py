"""The runs of an experiment, and the order in which they can run."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

# Model name of an Oracle that is compared with all models.
ANY_MODEL = '-'


@dataclass(frozen=True)
class Job:
    """One run of an experiment: one process, one work dir.

    ``role``: its purpose. ``method``: name of the method; ``baseline``, ``control`` and ``oracle`` for these roles.
    A method with ``labels_only`` also has the role ``control``.
    ``models``: the models that it trains.
    ``needs``: names of the jobs that must be complete before it.
    """

    data_set: str
    seed: int
    role: Literal['baseline', 'method', 'control', 'oracle']
    method: str
    models: tuple[str, ...]
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Unique name, and path of its work dir within the experiment's: ``digits/seed0/cbst_a``."""
        single = len(self.models) == 1 and self.models != (ANY_MODEL,)
        return f'{self.data_set}/seed{self.seed}/{self.method}' + (f'_{self.models[0]}' if single else '')


def plan_jobs(
    seeds: Sequence[int],
    models: Mapping[str, Sequence[str]],
    methods: Mapping[str, Mapping[str, Iterable[Sequence[str]]]],
    oracles: Mapping[str, Iterable[str]],
    control: bool,
    labels_only: Collection[str] = (),
) -> list[Job]:
    """List the runs of an experiment, seed after seed; each run comes after the runs that it needs.

    The runs share the first phases: each model's baseline is a separate job. Every method and the control need the
    baselines of their models.

    Args:
        seeds: Each seed is one repetition of all runs.
        models: Data set -> names of its models.
        methods: Data set -> method -> the models that each of its runs trains.
        oracles: Data set -> models that have an Oracle, or ``ANY_MODEL``.
        control: Whether there is a control for each model.
        labels_only: Methods whose runs are controls, each of one model.
    """
    jobs: list[Job] = []
    for seed in seeds:
        for data_set, names in models.items():
            baselines = {model: Job(data_set, seed, 'baseline', 'baseline', (model,)) for model in names}
            jobs += baselines.values()
            for method, runs in methods[data_set].items():
                for trained in runs:
                    needs = tuple(baselines[model].name for model in trained)
                    role: Literal['method', 'control'] = 'control' if method in labels_only else 'method'
                    jobs.append(Job(data_set, seed, role, method, tuple(trained), needs))
            if control:
                jobs += [
                    Job(data_set, seed, 'control', 'control', (model,), (job.name,)) for model, job in baselines.items()
                ]
            jobs += [Job(data_set, seed, 'oracle', 'oracle', (model,)) for model in oracles[data_set]]
    return jobs


def ready(jobs: Iterable[Job], started: Collection[str], complete: Collection[str]) -> list[Job]:
    """Jobs that can start now: not started, with all needed jobs complete. Both collections hold names."""
    return [job for job in jobs if job.name not in started and all(name in complete for name in job.needs)]

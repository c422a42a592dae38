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
    A method with ``labels_only`` also has the role ``control``, one with ``supervised_only`` the role ``baseline``.
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
    supervised_only: Collection[str] = (),
    baselines: Mapping[str, Mapping[str, str]] | None = None,
) -> list[Job]:
    """List the runs of an experiment, seed after seed; each run comes after the runs that it needs.

    The runs share the first phases: each model's baseline is a separate job. Every method and the control need the
    baselines of their models. A baseline that no run needs is left out, except the first model's.

    Args:
        seeds: Each seed is one repetition of all runs.
        models: Data set -> names of its models.
        methods: Data set -> method -> the models that each of its runs trains.
        oracles: Data set -> models that have an Oracle, or ``ANY_MODEL``.
        control: Whether there is a control for each model.
        labels_only: Methods whose runs are controls, each of one model.
        supervised_only: Methods whose runs are baselines, each of one model.
        baselines: Data set -> method -> name of the baselines that it starts from, if not ``baseline``.
    """
    jobs: list[Job] = []
    controls = {'control', *labels_only}
    for seed in seeds:
        for data_set, names in models.items():
            runs, starts = methods[data_set], (baselines or {}).get(data_set, {})
            extra = {method: [model for (model,) in runs[method]] for method in supervised_only if method in runs}
            first = {
                (kind, model): Job(data_set, seed, 'baseline', kind, (model,))
                for kind, trained in {'baseline': names, **extra}.items()
                for model in trained
            }
            wanted = [(method, tuple(trained)) for method in runs if method not in extra for trained in runs[method]]
            if control:
                wanted += [('control', (model,)) for model in names]
            later = [
                Job(
                    data_set, seed, 'control' if method in controls else 'method', method, trained,
                    tuple(first[starts.get(method, 'baseline'), model].name for model in trained),
                )
                for method, trained in wanted
            ]  # fmt: skip
            needed = {name for job in later for name in job.needs}
            jobs += [
                job
                for (kind, model), job in first.items()
                if kind != 'baseline' or model == names[0] or job.name in needed
            ]
            jobs += [*later, *(Job(data_set, seed, 'oracle', 'oracle', (model,)) for model in oracles[data_set])]
    return jobs


def ready(jobs: Iterable[Job], started: Collection[str], complete: Collection[str]) -> list[Job]:
    """Jobs that can start now: not started, with all needed jobs complete. Both collections hold names."""
    return [job for job in jobs if job.name not in started and all(name in complete for name in job.needs)]

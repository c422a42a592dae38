"""What the methods of an experiment cost: steps, CPU time and memory of their runs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mmdmt.engine.report import markdown_table
from mmdmt.experiments.statistics import summarise

REFERENCE = 'control'
EXPLANATION = (
    "CPU time: of the training process, without its loaders' workers; validations are included. To a step of labels "
    'only: time of a training step over that of the control, in the median over the seeds. Memory: peak of the '
    'process, without the GPU. First phases that a run takes over from the shared baselines are not counted.'
)


class Cost(NamedTuple):
    """Cost of one run.

    ``steps``: training steps of all its phases. ``train_seconds``, ``label_seconds``: CPU seconds of its training and
    of its label phases. ``memory_mib``: peak of the process's memory; ``gpu_memory_mib`` that of the GPU, 0 without
    one.
    """

    steps: int
    train_seconds: float
    label_seconds: float
    memory_mib: int
    gpu_memory_mib: int


Costs = Mapping[tuple[str, str], Mapping[int, Cost]]
"""Method and trained models -> seed -> cost; in the order of the table."""


def cost_of(records: Iterable[Mapping[str, Any]]) -> Cost | None:
    """Add up the records of a run's phases; None if no phase was measured.

    >>> cost_of([dict(steps=100, cpu_seconds=20.0, memory_mib=500), dict(cpu_seconds=3.0, memory_mib=400)])
    Cost(steps=100, train_seconds=20.0, label_seconds=3.0, memory_mib=500, gpu_memory_mib=0)
    """
    measured = [record for record in records if 'cpu_seconds' in record]
    if not measured:
        return None
    trained = [record for record in measured if 'steps' in record]
    train_seconds = math.fsum(record['cpu_seconds'] for record in trained)
    return Cost(
        steps=sum(record['steps'] for record in trained),
        train_seconds=train_seconds,
        label_seconds=math.fsum(record['cpu_seconds'] for record in measured) - train_seconds,
        memory_mib=max(record['memory_mib'] for record in measured),
        gpu_memory_mib=max(record.get('gpu_memory_mib', 0) for record in measured),
    )


def render_cost(costs: Costs) -> str:
    """Compare the costs of all runs: means over the seeds.

    Args:
        costs: Rows of the method ``control`` are what a step is compared with, model by model.
    """
    reference = {
        model: {seed: _step(cost) for seed, cost in seeds.items()}
        for (method, model), seeds in costs.items()
        if method == REFERENCE
    }
    on_gpu = any(cost.gpu_memory_mib for seeds in costs.values() for cost in seeds.values())
    header = ['method', 'models', 'steps', 'CPU min', 'of it labels', 'to a step of labels only', 'memory, MiB']
    rows = []
    for (method, models), seeds in costs.items():
        found = list(seeds.values())
        row = [
            method,
            models,
            f'{_mean(cost.steps for cost in found):.0f}',
            f'{_mean(cost.train_seconds + cost.label_seconds for cost in found) / 60:.1f}',
            f'{_mean(cost.label_seconds for cost in found) / 60:.1f}',
            _ratio(seeds, [reference[model] for model in models.split('+') if model in reference]),
            f'{_mean(cost.memory_mib for cost in found):.0f}',
        ]
        rows.append([*row, f'{_mean(cost.gpu_memory_mib for cost in found):.0f}'] if on_gpu else row)
    return markdown_table([*header, 'GPU memory, MiB'] if on_gpu else header, rows) + '\n\n' + EXPLANATION


def _step(cost: Cost) -> float:
    return cost.train_seconds / cost.steps if cost.steps else math.nan


def _mean(values: Iterable[float]) -> float:
    return summarise(values).mean


def _ratio(seeds: Mapping[int, Cost], references: Sequence[Mapping[int, float]]) -> str:
    """The time of a step over the mean of the references' steps, in the median over the common seeds."""
    ratios = sorted(
        _step(cost) / _mean(own[seed] for own in references)
        for seed, cost in seeds.items()
        if cost.steps and references and all(seed in own for own in references)
    )
    return f'{ratios[len(ratios) // 2]:.2f}x' if ratios else '-'

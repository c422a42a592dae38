"""The tables of an experiment: methods compared over seeds."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from mmdmt.engine.report import markdown_table
from mmdmt.experiments.jobs import ANY_MODEL
from mmdmt.experiments.statistics import Summary, gap_closure, paired_differences, summarise

Row = tuple[str, str]
"""Method and model."""
Scores = Mapping[Row, Mapping[int, Mapping[str, float]]]
"""Row -> seed -> metrics, in percent, on one split of one data set; rows in the order of the table."""


class LabelAccuracy(NamedTuple):
    """Accuracy of the pseudo labels of one model in a run, in percent.

    ``selected``: iteration -> accuracy of the labels that the iteration trains on.
    ``last_by_ratio``: label ratio -> accuracy of this most confident share of each class, in the last iteration.
    """

    selected: dict[int, float]
    last_by_ratio: dict[float, float]


LabelAccuracies = Mapping[Row, Mapping[int, LabelAccuracy]]
"""Row of the model that made the labels -> seed -> accuracy."""

CLASS = 'IoU/'
SECOND_METRICS = ('aAcc', 'accuracy/fine_grained')
EXPLANATION = (
    'Mean ± sample deviation over the seeds; a single seed has no deviation. Gap closed: (method - baseline) / '
    '(Oracle - baseline) of the means over the seeds that all three have. Difference: to the baseline of the same '
    'model and seed. Checkpoints: those that each last phase hands over.'
)


def render_split(scores: Scores, metric: str, classes: Sequence[str] = (), frequent: Sequence[str] = ()) -> str:
    """Compare all rows on one split by ``metric`` and similar metrics; for segmentation, also by the IoU of each class.

    Args:
        scores: The results. Rows of the methods ``baseline`` and ``oracle`` are the references; Oracle rows may have
            the model ``ANY_MODEL``.
        metric: The metric whose gaps and differences are shown.
        classes: Class names in order; classes without an IoU are not shown.
        frequent: Classes of a second mean IoU.
    """
    columns: dict[str, Callable[[Mapping[str, float]], float]] = {metric: lambda found: found.get(metric, math.nan)}
    if frequent:
        columns[f'mIoU of {len(frequent)} classes'] = lambda found: mean_iou(found, frequent)
    measured = [found for seeds in scores.values() for found in seeds.values()]
    for name in SECOND_METRICS:
        if any(name in found for found in measured):
            columns[name] = lambda found, name=name: found.get(name, math.nan)  # type: ignore[misc]
    values = {row: {seed: columns[metric](found) for seed, found in seeds.items()} for row, seeds in scores.items()}
    header = ['method', 'model', 'seeds', *columns, 'gap closed', 'difference', 'by seed']
    rows = [
        [
            *row,
            ' '.join(str(seed) for seed in sorted(seeds)),
            *(_mean(summarise(value(found) for found in seeds.values())) for value in columns.values()),
            *_compared(row, values),
        ]
        for row, seeds in scores.items()
    ]
    parts = [markdown_table(header, rows)]
    if frequent:
        parts.append(f'The {len(frequent)} classes: {", ".join(frequent)}.')
    shown = [name for name in classes if any(CLASS + name in found for found in measured)]
    if shown:
        parts.append(_class_table(scores, shown))
    return '\n\n'.join(parts)


def render_labels(labels: LabelAccuracies, images: int) -> str:
    """Compare the accuracy of pseudo labels (means over the seeds) on ``images`` unlabeled images with masks.

    The first table covers the labels that each iteration trains on. The second covers the labels of the last iteration,
    by label ratio. Methods with other label ratios have other columns.
    """
    intro = (
        f'Right labels, in %, on {images} unlabeled images: among those that an iteration trains on, and among the '
        'most confident share of each class in the last iteration.'
    )
    selected = {row: [own.selected for own in seeds.values()] for row, seeds in labels.items()}
    by_ratio = {row: [own.last_by_ratio for own in seeds.values()] for row, seeds in labels.items()}
    return '\n\n'.join(
        [intro, _label_table(selected, lambda number: f'iteration {number:g}'), _label_table(by_ratio, _percent_name)]
    )


def mean_iou(metrics: Mapping[str, float], classes: Sequence[str]) -> float:
    """Mean IoU of those ``classes`` that have one; NaN if none has."""
    return summarise(metrics.get(CLASS + name, math.nan) for name in classes).mean


def _compared(row: Row, values: Mapping[Row, Mapping[int, float]]) -> list[str]:
    """Gap closed, mean difference and differences by seed, of a row."""
    method, model = row
    baseline = values.get(('baseline', model), {})
    oracle = values.get(('oracle', model), values.get(('oracle', ANY_MODEL), {}))
    if method == 'baseline' or not baseline:
        return ['', '', '']
    differences = paired_differences(values[row], baseline)
    closed = math.nan if method == 'oracle' else gap_closure(values[row], baseline, oracle)
    return [
        '' if math.isnan(closed) else f'{closed:.2f}',
        _mean(summarise(differences.values()), '+.1f'),
        ' '.join(f'{difference:+.1f}' for difference in differences.values()),
    ]


def _class_table(scores: Scores, classes: Sequence[str]) -> str:
    rows = [
        [*row, *(_mean(summarise(found.get(CLASS + name, math.nan) for found in seeds.values()), spread=False)
                 for name in classes)]
        for row, seeds in scores.items()
    ]  # fmt: skip
    return markdown_table(['IoU', 'model', *classes], rows)


def _label_table(accuracies: Mapping[Row, list[dict]], name: Callable[[float], str]) -> str:
    """Render one column per key of the dicts; each row has one dict per seed."""
    columns = sorted({key for seeds in accuracies.values() for own in seeds for key in own})
    rows = [
        [*row, *(_mean(summarise(own.get(column, math.nan) for own in seeds)) for column in columns)]
        for row, seeds in accuracies.items()
    ]
    return markdown_table(['method', 'teacher', *map(name, columns)], rows)


def _percent_name(ratio: float) -> str:
    return f'{100 * ratio:g} %'


def _mean(summary: Summary, form: str = '.1f', spread: bool = True) -> str:
    if not summary.number:
        return '-'
    deviation = f' ± {summary.deviation:.1f}' if spread and summary.number > 1 else ''
    return f'{summary.mean:{form}}{deviation}'

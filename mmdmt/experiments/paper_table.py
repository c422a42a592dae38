"""The table of an experiment as the paper prints it: all data sets side by side, with the gap to the Oracle."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from mmdmt.engine.report import markdown_table
from mmdmt.experiments.jobs import ANY_MODEL
from mmdmt.experiments.plan import RESERVED, Published
from mmdmt.experiments.statistics import paired_differences, summarise
from mmdmt.experiments.table import Row, Scores

BETTER = 'better'
EXPLANATION = (
    'Mean ± sample deviation over the seeds; in brackets, the gap to the Oracle: the mean difference over the seeds '
    f'that both have. `{BETTER}`: of each seed, the model with the better figure, as the paper takes it: it is chosen '
    'by what is shown.'
)


class Column(NamedTuple):
    """A data set in the table: results on one of its splits (``val`` or ``test``), and the metric that counts."""

    scores: Scores
    metric: str
    split: str


Values = Mapping[Row, Mapping[int, float]]
"""Row -> seed -> metric, in percent."""


def render_paper(columns: Mapping[str, Column], published: Published | None = None) -> str:
    """Render all data sets side by side, then by seed.

    Args:
        columns: Data set -> its results.
        published: Figures of a publication to add, each in a row that is marked as such.
    """
    values = {name: with_better(_values(column)) for name, column in columns.items()}
    header, lines = paper_rows(columns)
    if published is not None:
        lines += [
            [name, '*published*', *(_published_cell(row.values.get(data_set), row.oracle) for data_set in columns)]
            for name, row in published.rows.items()
        ]
    parts = [markdown_table(header, lines), EXPLANATION]
    if published is not None:
        parts.append(
            f'Rows marked *published* are figures of the publication ({published.source}), not measured here; the gap '
            "is to the publication's Oracle of the same network."
        )
    return '\n\n'.join([*parts, 'The same by seed:', _by_seed(values)])


def paper_rows(columns: Mapping[str, Column]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table: a row for each method and model, the Oracle last; a column for each data set."""
    values = [with_better(_values(column)) for column in columns.values()]
    rows = list(dict.fromkeys(row for column in values for row in column))
    header = ['method', 'model', *(f'{name} ({item.metric}, {item.split})' for name, item in columns.items())]
    return header, [[*row, *(_cell(row, column) for column in values)] for row in _oracle_last(rows)]


def with_better(values: Values) -> dict[Row, dict[int, float]]:
    """Add the better model of each seed after the models of a method; for seeds that all of its models have."""
    result: dict[Row, dict[int, float]] = {}
    for row, seeds in values.items():
        result[row] = dict(seeds)
        models = [model for method, model in values if method == row[0]]
        if row[0] not in RESERVED and len(models) > 1 and row[1] == models[-1]:
            own = [values[row[0], model] for model in models]
            common = [seed for seed in own[0] if all(seed in seeds for seeds in own)]
            result[row[0], BETTER] = {seed: max(seeds[seed] for seeds in own) for seed in common}
    return result


def _values(column: Column) -> Values:
    return {
        row: {seed: found[column.metric] for seed, found in seeds.items() if column.metric in found}
        for row, seeds in column.scores.items()
    }


def _oracle_last(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row[0] == 'oracle')


def _cell(row: Row, values: Values) -> str:
    """``mean ± deviation (gap to the Oracle)``."""
    found = values.get(row, {})
    mean, deviation, number = summarise(found.values())
    if not number:
        return '-'
    spread = '' if math.isnan(deviation) else f' ± {deviation:.2f}'
    return f'{mean:.2f}{spread}{_bracket(summarise(_gaps(row, values).values()).mean)}'


def _gaps(row: Row, values: Values) -> dict[int, float]:
    """Seed -> value minus that of the Oracle of the model, or of the Oracle of all models; none for an Oracle."""
    method, model = row
    if method == 'oracle':
        return {}
    return paired_differences(values.get(row, {}), values.get(('oracle', model), values.get(('oracle', ANY_MODEL), {})))


def _bracket(gap: float) -> str:
    return '' if math.isnan(gap) else f' ({gap:+.2f})'


def _published_cell(value: float | None, oracle: float | None) -> str:
    if value is None:
        return '-'
    return f'{value:.2f}{_bracket(math.nan if oracle is None or oracle == value else value - oracle)}'


def _by_seed(values: Mapping[str, Values]) -> str:
    seeds = sorted({seed for column in values.values() for found in column.values() for seed in found})
    lines = [
        [
            data_set,
            *row,
            *(
                f'{found[seed]:.2f}{_bracket(gaps.get(seed, math.nan))}' if seed in found else '-'
                for gaps in [_gaps(row, column)]
                for seed in seeds
            ),
        ]
        for data_set, column in values.items()
        for row, found in column.items()
    ]
    return markdown_table(['data set', 'method', 'model', *(f'seed {seed}' for seed in seeds)], lines)

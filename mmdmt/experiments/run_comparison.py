"""Compares the runs in several work dirs: seeds of one method, and methods with each other."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmdmt.analysis import charts
from mmdmt.analysis.charts import COLORS, Line
from mmdmt.analysis.document import Chart, Section, Table, as_markdown, as_page
from mmdmt.analysis.run_record import RunRecord
from mmdmt.errors import UserError
from mmdmt.experiments.jobs import ANY_MODEL
from mmdmt.experiments.paper_table import EXPLANATION, Column, paper_rows, with_better
from mmdmt.experiments.statistics import Summary, summarise
from mmdmt.files import write_text

BASELINE, ORACLE = 'baseline', 'oracle'
NAME = 'comparison'
_SEED = re.compile(r'[_.-]?(?:seed|s)?[_.-]?\d+$', re.IGNORECASE)


@dataclass(frozen=True)
class Run:
    """A run to compare: its record, and the name of its method."""

    method: str
    record: RunRecord

    @property
    def seed(self) -> int:
        """Its seed."""
        return int(self.record.notes.get('seed') or self.record.setting('randomness.seed') or 0)

    @property
    def labeled(self) -> int:
        """Number of labeled images of the later phases; 0 if no phase is complete."""
        return max((own.get('labeled', 0) for own in self.record.records.values()), default=0)

    @property
    def data_set(self) -> str:
        """Its data set, as far as the config tells."""
        root = self.record.setting('data_root') or self.record.setting('dmt.labeled.data_root')
        return Path(root).name if root else str(self.record.setting('dmt.labeled.type') or 'data')


def read_runs(paths: Sequence[str]) -> list[Run]:
    """Read work dirs, each ``WORK_DIR`` or ``METHOD=WORK_DIR``; by default, the folder without its seed is the name.

    Raises:
        UserError: if one holds no run, or if two runs of a method, a data set and a number of labels have one seed.
    """
    runs = []
    for given in paths:
        name, _, path = given.rpartition('=') if not Path(given).exists() else ('', '', given)
        folder = Path(path).resolve()
        runs.append(Run(name or _SEED.sub('', folder.name) or folder.name, RunRecord.read(path)))
    seen: dict[tuple, Path] = {}
    for run in runs:
        key = (run.method, run.data_set, run.labeled, run.seed)
        if key in seen:
            raise UserError(
                f'{seen[key]} and {run.record.work_dir} are both {run.method!r} with seed {run.seed}: name them apart, '
                'as in NAME=WORK_DIR'
            )
        seen[key] = run.record.work_dir
    return runs


def columns(runs: Sequence[Run], oracle: float | None = None) -> dict[str, Column]:
    """Results by data set and number of labels: last iteration of each method, and the baselines of the first one.

    Args:
        runs: The runs.
        oracle: Metric of a model that was trained on all labels, in percent; the same for all columns.
    """
    found: dict[str, Column] = {}
    for run in sorted(runs, key=lambda run: (run.data_set, run.labeled)):
        record = run.record
        title = f'{run.data_set}, {run.labeled} labeled'
        column = found.setdefault(title, Column({}, record.metric, 'val'))
        for model in record.models:
            scores = record.scores(model)
            last = max(phase.iteration for phase in record.trains)
            for method, iteration in ((BASELINE, 0), (run.method, last))[: 1 + bool(last)]:
                if iteration in scores:
                    _add(column, method, model, run, scores[iteration])
        if oracle is not None:
            seeds = column.scores.setdefault((ORACLE, ANY_MODEL), {})  # type: ignore[attr-defined]
            seeds[run.seed] = {column.metric: oracle}
    return {title: _baselines_first(column) for title, column in found.items()}


def _add(column: Column, method: str, model: str, run: Run, score: float) -> None:
    """Add a result; a baseline that is not the one of the other methods gets a row of its own."""
    found = {column.metric: score}
    if method == BASELINE and column.scores.get((BASELINE, model), {}).get(run.seed, found) != found:
        method = f'{BASELINE} of {run.method}'
    column.scores.setdefault((method, model), {})[run.seed] = found  # type: ignore[attr-defined]


def _baselines_first(column: Column) -> Column:
    return column._replace(
        scores=dict(sorted(column.scores.items(), key=lambda item: not item[0][0].startswith(BASELINE)))
    )


def write_comparison(runs: Sequence[Run], folder: Path, oracle: float | None = None) -> Path:
    """Write ``comparison.html``, ``.md`` and ``.csv`` to a folder; return the path of the page."""
    results = columns(runs, oracle)
    content = _sections(runs, results)
    title = f'Comparison of {len(runs)} runs'
    write_text(folder / f'{NAME}.md', as_markdown(title, content))
    write_text(folder / f'{NAME}.csv', as_csv(results))
    write_text(folder / f'{NAME}.html', as_page(title, content))
    return folder / f'{NAME}.html'


def as_csv(results: dict[str, Column]) -> str:
    """One line for each data set, method, model and seed."""
    text = io.StringIO(newline='')
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['data set', 'method', 'model', 'seed', 'metric', 'value'])
    for name, column in results.items():
        for (method, model), seeds in column.scores.items():
            for seed, metrics in sorted(seeds.items()):
                writer.writerow([name, method, model, seed, column.metric, f'{metrics[column.metric]:.4f}'])
    return text.getvalue()


def _sections(runs: Sequence[Run], results: dict[str, Column]) -> list[Section]:
    header, rows = paper_rows(results)
    rows = [[cell.replace('`', '') for cell in row] for row in rows]
    incomplete = [
        f'{run.record.work_dir.name} is not complete: {len(run.record.records)} of {len(run.record.phases)} phases.'
        for run in runs
        if not run.record.complete
    ]
    parts: list[Table | Chart] = [Table(header, rows), *_by_split(results), *_by_iteration(runs)]
    explanation = EXPLANATION.replace('`', '')
    seeds = Section('By seed', (), [_by_seed(results)])
    files = Table(['method', 'seed', 'work dir', 'phases'], [
        [run.method, str(run.seed), run.record.work_dir.name, f'{len(run.record.records)} of {len(run.record.phases)}']
        for run in runs
    ])  # fmt: skip
    return [Section('Methods', [explanation, *incomplete], parts), seeds, Section('Runs', (), [files])]


def _by_seed(results: dict[str, Column]) -> Table:
    seeds = sorted({seed for column in results.values() for own in column.scores.values() for seed in own})
    rows = [
        [name, *row, *(f'{own[seed][column.metric]:.2f}' if seed in own else '-' for seed in seeds)]
        for name, column in results.items()
        for row, own in column.scores.items()
    ]
    return Table(['data set', 'method', 'model', *(f'seed {seed}' for seed in seeds)], rows)


def _by_split(results: dict[str, Column]) -> list[Chart]:
    """The metric of each method by number of labels, of data sets with several numbers."""
    groups: dict[str, dict[int, Column]] = {}
    for title, column in results.items():
        data_set, _, labeled = title.removesuffix(' labeled').rpartition(', ')
        groups.setdefault(data_set, {})[int(labeled)] = column
    return [_split_chart(data_set, own) for data_set, own in groups.items() if len(own) > 1]


def _split_chart(data_set: str, splits: dict[int, Column]) -> Chart:
    means: dict[str, dict[int, Summary]] = {}
    for labeled, column in splits.items():
        values = {
            row: {seed: own[column.metric] for seed, own in seeds.items()} for row, seeds in column.scores.items()
        }
        for (method, model), seeds in with_better(values).items():
            means.setdefault(f'{method} {model}', {})[labeled] = summarise(seeds.values())
    lines = [
        Line(name, list(own), [summary.mean for summary in own.values()], COLORS[place % len(COLORS)])
        for place, (name, own) in enumerate(means.items())
    ]
    metric = next(iter(splits.values())).metric
    rows = [
        [name, *(f'{own[size].mean:.2f}' if size in own else '-' for size in splits)] for name, own in means.items()
    ]
    table = Table(['method', *(f'{size} labeled' for size in splits)], rows)
    return Chart(
        charts.lines(lines, 'labeled images', f'{metric}, %'), f'{metric} by number of labels, {data_set}.', table
    )


def _by_iteration(runs: Sequence[Run]) -> list[Chart]:
    """Mean over seeds and models of the metric by iteration, one line for each method; one chart a data set."""
    found = []
    for title in dict.fromkeys(f'{run.data_set}, {run.labeled} labeled' for run in runs):
        own = [run for run in runs if f'{run.data_set}, {run.labeled} labeled' == title]
        lines = [
            _mean_line(own, method, place) for place, method in enumerate(dict.fromkeys(run.method for run in own))
        ]
        lines = [line for line in lines if len(line.x) > 1]
        if lines:
            metric = own[0].record.metric
            rows = [[line.name, f'{x:g}', f'{y:.2f}'] for line in lines for x, y in zip(line.x, line.y, strict=True)]
            caption = f'{metric} by iteration, mean over models and seeds, {title}.'
            svg = charts.lines(lines, 'iteration', f'{metric}, %')
            found.append(Chart(svg, caption, Table(['method', 'iteration', metric], rows)))
    return found


def _mean_line(runs: Sequence[Run], method: str, place: int) -> Line:
    scores = [run.record.scores(model) for run in runs if run.method == method for model in run.record.models]
    iterations = sorted({iteration for own in scores for iteration in own})
    means = [summarise(own[iteration] for own in scores if iteration in own).mean for iteration in iterations]
    return Line(method, iterations, means, COLORS[place % len(COLORS)])

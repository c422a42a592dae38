"""The sections of a report about a whole run: result, plan, classes, training, and what it was run with."""

import math
from collections.abc import Mapping, Sequence

from mmdmt.analysis import charts
from mmdmt.analysis.charts import COLORS, GRAY, Line
from mmdmt.analysis.document import Chart, Section, Table
from mmdmt.analysis.label_facts import LabelFacts
from mmdmt.analysis.references import References
from mmdmt.analysis.run_record import RunRecord
from mmdmt.analysis.verdict import measured_on, verdict
from mmdmt.core.schedule import Phase
from mmdmt.engine.report import duration
from mmdmt.files import megabytes

STATISTICS = {
    'disagree': 'student and teacher disagree, share of the labels',
    'student_wins': 'labels that the more confident student overrules, share',
    'mean_weight': 'mean weight of the labels',
}
NOT_STATISTICS = frozenset('lr base_lr data_time time loss grad_norm memory iter step epoch'.split())
POINTS = 200
"""Points of a training curve; more are averaged."""


def number(value: float | None, form: str = '.2f') -> str:
    """A figure for a table; ``-`` for none."""
    return '-' if value is None or math.isnan(value) else f'{value:{form}}'


def result(record: RunRecord, labels: Sequence[LabelFacts], references: References) -> Section:
    """The verdict, and the models before and after."""
    models, method = record.models, 'Method' if record.single else 'DMT'
    last = max((phase.iteration for phase in record.trains), default=0)
    scores = {model: record.scores(model) for model in models}
    rows = [
        [title, *(number(scores[model].get(iteration)) for model in models)]
        for title, iteration in (('Baseline', 0), (method, last))
        if any(phase.iteration == iteration for phase in record.trains) and (title == 'Baseline' or last)
    ]
    if len(rows) == 2:
        gains = [scores[model].get(last, math.nan) - scores[model].get(0, math.nan) for model in models]
        rows.append(['Difference', *(number(gain, '+.2f') for gain in gains)])
    if references.controls:
        rows.append(['Labels only, as many steps', *(number(references.controls.get(model)) for model in models)])
    if references.oracle is not None:
        rows.append(['Oracle', *(number(references.oracle) for _ in models)])
    table = Table([record.metric, *models], rows, f'In percent, on {measured_on(record)}.')
    return Section('Result', verdict(record, labels, references), [table, *_curves(record, references.oracle)])


def _curves(record: RunRecord, oracle: float | None) -> list[Chart]:
    """The metric of each model by iteration; for a method of one phase, by step."""
    lines, levels, rows = [], [], []
    by_step = record.single and len(_validations(record, record.models[0])) > 1
    for place, model in enumerate(record.models):
        color, scores = COLORS[place], record.scores(model)
        if by_step:
            scores = _validations(record, model)
        if not scores:
            continue
        lines.append(Line(f'model {model}', list(scores), list(scores.values()), color))
        baseline = record.scores(model).get(0)
        if baseline is not None:
            levels.append(Line(f'baseline {model}', [0], [baseline], color, dashed=True))
        rows += [[model, str(key), number(score)] for key, score in scores.items()]
    if max((len(line.x) for line in lines), default=0) < 2:
        return []
    if oracle is not None:
        levels.append(Line('Oracle', [0], [oracle], GRAY, dashed=True))
    what = 'optimizer step' if by_step else 'iteration'
    svg = charts.lines(lines, what, f'{record.metric}, %', levels=levels)
    caption = f'{record.metric} of each model by {what}, on {measured_on(record)}; dashed: baselines' + (
        ' and Oracle.' if oracle is not None else '.'
    )
    return [Chart(svg, caption, Table(['model', what, record.metric], rows))]


def _validations(record: RunRecord, model: str) -> dict[int, float]:
    """Step of the last phase of a model -> metric, as far as it was validated on the way."""
    phase = [phase for phase in record.trains if phase.model == model][-1]
    found = {line['step']: line[record.metric] for line in record.scalars(phase) if record.metric in line}
    return {int(step): value for step, value in found.items() if math.isfinite(value)}


def plan(record: RunRecord, labels: Mapping[str, LabelFacts]) -> Section:
    """All phases, with what is done and what is left."""
    rows = [_row(record, phase, labels) for phase in record.phases]
    header = ['phase', 'student', 'teacher', 'labeled', 'label ratio', 'coverage', 'right, %', record.metric,
              'steps', 'images', 'time', 'GPU memory', 'disk', 'state']  # fmt: skip
    used = [column for column in range(len(header)) if any(row[column] for row in rows)]
    done = [record.records[phase.name] for phase in record.phases if phase.name in record.records]
    seconds = sum(item.get('seconds', 0) for item in done)
    told = f'{len(done)} of {len(rows)} phases are complete; they took {duration(seconds)}.'
    text = [told, *record.manifest.told_sources()]
    table = Table([header[column] for column in used], [[row[column] for column in used] for row in rows])
    return Section('Phases', text, [table])


def _row(record: RunRecord, phase: Phase, labels: Mapping[str, LabelFacts]) -> list[str]:
    own, trains = record.records.get(phase.name, {}), phase.kind == 'train'
    facts = labels.get(str(phase.labels) if trains else phase.name)
    steps = own.get('steps', (record.notes.get('steps') or {}).get(phase.name))
    begun = (record.work_dir / phase.name).is_dir()
    return [
        phase.name,
        phase.model if trains else '',
        (phase.teacher or '') if trains else phase.model,
        str(own.get('labeled', '')),
        '' if phase.label_ratio is None else f'{phase.label_ratio:g}',
        '' if facts is None else f'{facts.coverage:.4f}',
        '' if facts is None or facts.accuracy is None else f'{100 * facts.accuracy:.2f}',
        number(record.score(phase)) if trains and own else '',
        '' if steps is None else str(steps),
        str(own.get('images', '')),
        duration(own['seconds']) if 'seconds' in own else '',
        f'{own["gpu_memory_mib"]} MiB' if 'gpu_memory_mib' in own else '',
        megabytes(record.disk_bytes(phase)) if begun else '',
        'complete' if own else 'begun' if begun else 'to do',
    ]


def classes(record: RunRecord) -> Section | None:
    """IoU or accuracy of each class, from the first to the last phase of each model; None if no phase knows them."""
    parts: list[Chart | Table] = []
    what = record.class_figure[0].upper() + record.class_figure[1:]
    for model in record.models:
        phases = [phase for phase in record.trains if phase.model == model and record.class_figures(phase)]
        if not phases:
            continue
        values = {phase.name: record.class_figures(phase) for phase in phases}
        first, last = values[phases[0].name], values[phases[-1].name]
        names = [name for name in last if name in first]
        rows = [
            [name, *(number(own.get(name)) for own in values.values()),
             number(last.get(name, math.nan) - first.get(name, math.nan), '+.2f')]
            for name in {**first, **last}
        ]  # fmt: skip
        header = ['class', *values, 'change']
        if len(phases) == 1:
            header, rows = header[:-1], [row[:-1] for row in rows]
        table = Table(header, rows, f'{what} of each class, model {model}, in percent.')
        if len(phases) == 1 or not names:
            parts.append(table)
            continue
        ends = (phases[0].name, phases[-1].name)
        svg = charts.change(names, [first[n] for n in names], [last[n] for n in names], ends, f'{what}, %')
        parts.append(Chart(svg, f'{what} of each class of model {model}, first to last.', table))
    return Section('Classes', (), parts) if parts else None


def training(record: RunRecord) -> Section | None:
    """The statistics that train phases log, over all steps; None without a log."""
    series: dict[str, list[Line]] = {}
    steps = dict.fromkeys(record.models, 0)
    for phase in record.trains:
        lines = [line for line in record.scalars(phase) if 'loss' in line]
        for name in sorted({key for line in lines for key in line if _shown(record, phase, key)}):
            points = [(steps[phase.model] + line['step'], line[name]) for line in lines if _finite(line.get(name))]
            color = COLORS[record.models.index(phase.model)]
            _extend(series.setdefault(name, []), f'model {phase.model}', points, color)
        steps[phase.model] += int(max((line['step'] for line in lines), default=0))
    used = [name for name in series if name not in STATISTICS or any(any(line.y) for line in series[name])]
    order = sorted(used, key=lambda name: (name not in STATISTICS, name))
    parts = [_statistic(record, name, series[name]) for name in order]
    return Section('Training', (), parts) if parts else None


def _statistic(record: RunRecord, name: str, lines: Sequence[Line]) -> Chart:
    caption = STATISTICS.get(name, name).capitalize() + '.'
    return Chart(charts.lines(lines, 'optimizer step of the model', name), caption, _ends(record, name))


def _shown(record: RunRecord, phase: Phase, name: str) -> bool:
    """Whether a logged figure of a phase is worth a chart: of a method all, of DMT its statistics and the loss."""
    if name in STATISTICS:
        return not phase.supervised  # a baseline has no pseudo labels
    return name == 'loss' or (record.single and name not in NOT_STATISTICS and not name.endswith('acc_seg'))


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _extend(lines: list[Line], name: str, points: Sequence[tuple[float, float]], color: str) -> None:
    """Append points to the line of a model, averaged to ``POINTS`` a phase."""
    size = max(1, math.ceil(len(points) / POINTS))
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    x, y = ([sum(point[axis] for point in part) / len(part) for part in parts] for axis in (0, 1))
    before = next((line for line in lines if line.name == name), None)
    if before is not None:
        lines.remove(before)
        x, y = [*before.x, *x], [*before.y, *y]
    if x:
        lines.append(Line(name, x, y, color, marker=False))


def _ends(record: RunRecord, name: str) -> Table:
    """Mean of a logged figure over the first and the last tenth of each phase."""
    rows = []
    for phase in record.trains:
        lines = [line for line in record.scalars(phase) if 'loss' in line and _shown(record, phase, name)]
        values = [line[name] for line in lines if _finite(line.get(name))]
        size = max(1, len(values) // 10)
        if values:
            rows.append([phase.name, *(f'{sum(part) / len(part):.4g}' for part in (values[:size], values[-size:]))])
    return Table(['phase', 'first tenth', 'last tenth'], rows)


def settings(record: RunRecord) -> Section:
    """Command, versions, seed and fidelity switches."""
    notes = record.notes
    versions = ', '.join(f'{name} {version}' for name, version in (notes.get('versions') or {}).items())
    gammas = (f'model {model}: {", ".join(found)}' for model, found in (notes.get('gammas') or {}).items())
    facts = {
        'command': ' | '.join(notes.get('commands') or []),
        'config': 'config.py',
        'scheme': str(record.setting('dmt.scheme') or ('single' if record.single else 'mutual')),
        'label ratios': ', '.join(f'{phase.label_ratio:g}' for phase in _first_labels(record)),
        'gamma': '; '.join(gammas),
        'seed': str(notes.get('seed', '')),
        'images': '; '.join(_images(model, own) for model, own in (notes.get('images') or {}).items()),
        'device': str(notes.get('device', '')),
        'versions': versions,
    }
    text = [f'Behavior of the published code: {behaviour}.' for behaviour in notes.get('behaviours') or ()]
    text += record.manifest.told_changes() if record.config else []
    rows = [[key, value] for key, value in facts.items() if value]
    return Section('Settings', text, [Table(['what', 'value'], rows, prose=True)])


def _first_labels(record: RunRecord) -> list[Phase]:
    """The first label phase of each iteration."""
    return list({phase.iteration: phase for phase in reversed(record.labels) if phase.label_ratio}.values())[::-1]


def _images(model: str, own: Mapping) -> str:
    labeled = ' or '.join(str(size) for size in sorted(set((own.get('labeled') or {}).values())))
    return f'model {model}: {labeled} labeled, {own.get("unlabeled")} unlabeled'

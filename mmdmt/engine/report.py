"""The tables of a run: the plan before it, the result after it."""

from collections.abc import Sequence
from datetime import timedelta

from mmdmt.core.schedule import Phase
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.run_data import RunData
from mmdmt.engine.settings import DMTSettings, stage_of
from mmdmt.labels.stores import STORES

LABEL_ACCURACY = 'label accuracy'


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table with aligned columns."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = [
        '| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + ' |'
        for row in [header, ['-' * width for width in widths], *rows]
    ]
    return '\n'.join(lines)


def render(manifest: Manifest, settings: DMTSettings, best: Phase, behaviours: Sequence[str] = ()) -> str:
    """Report of a complete run: all phases, then the models before and after DMT.

    Args:
        manifest: The run.
        settings: Its settings.
        best: The train phase whose checkpoint is the result.
        behaviours: See :mod:`mmdmt.engine.fidelity`.
    """
    rows = [_row(manifest, phase, settings.metric) for phase in manifest.phases]
    header = [
        'phase',
        'student',
        'teacher',
        'labeled',
        'label ratio',
        'coverage',
        LABEL_ACCURACY,
        settings.metric,
        'time',
    ]
    if not any(row[header.index(LABEL_ACCURACY)] for row in rows):  # the true labels are not known
        for row in (header, *rows):
            del row[6]
    total = sum((manifest.record(phase.name) or {}).get('seconds', 0) for phase in manifest.phases)
    parts = [
        markdown_table(header, rows),
        markdown_table([settings.metric, *settings.models], _summary(manifest, settings)),
        f'Best: model {best.model}, {settings.metric} {_number(manifest.score(best, settings.metric))} on the '
        f'validation set, in {manifest.work_dir / "best.pth"} (config for the stock tools: '
        f'{manifest.work_dir / "best.py"}). Time of all phases: {_duration(total)}.',
        'Checkpoints: the last one of each phase.'
        if settings.select == 'last'
        else f'Checkpoints: the one of each phase with the best {settings.metric} on the validation set, on which the '
        'figures above are also measured; the last one of each phase: '
        + ', '.join(f'{name} {_number(value)}' for name, value in _last_scores(manifest, settings.metric)),
        *(
            f'Not trained here: {phase.name} uses {record["taken_over"]}.'
            for phase in manifest.phases
            if 'taken_over' in (record := manifest.record(phase.name) or {})
        ),
        *(f'Behavior of the published code: {behaviour}.' for behaviour in behaviours),
        f'The better of the last models is chosen by {settings.metric} on the validation set.'
        if len(settings.models) > 1
        else '',
    ]
    return '\n\n'.join(part for part in parts if part) + '\n'


def describe_plan(manifest: Manifest, data: RunData, behaviours: Sequence[str] = ()) -> str:
    """Describe what a run will do: its phases, optimizer steps, images to label and the disk space of the labels."""
    plan, settings = data.plan, data.plan.settings
    trains = [phase for phase in manifest.phases if phase.kind == 'train' and not settings.supervised_checkpoint(phase)]
    labels = [phase for phase in manifest.phases if phase.kind == 'label']
    steps = {phase.name: data.phases[phase.name].steps for phase in trains}
    to_label = {phase.name: data.models[phase.model].num_unlabeled for phase in labels}
    rows = [
        [
            phase.name,
            phase.model if phase.kind == 'train' else '',
            (phase.teacher or '') if phase.kind == 'train' else phase.model,
            '' if phase.label_ratio is None else f'{phase.label_ratio:g}',
            _labeled(data, phase) if phase in trains else '',
            str(steps.get(phase.name, '')),
            str(to_label.get(phase.name, '')),
            'complete' if manifest.is_complete(phase.name) else 'given' if phase not in trains + labels else '',
        ]
        for phase in manifest.phases
    ]
    label_bytes = {model: data.label_bytes(model) for model in {phase.model for phase in labels}}
    each = [label_bytes[phase.model] for phase in labels]
    keep = settings.keep_labels or STORES[plan.task.store].always_kept
    held = sum(each) if keep else max(each, default=0)
    return '\n'.join(
        [
            markdown_table(
                ['phase', 'student', 'teacher', 'label ratio', 'labeled', 'steps', 'images to label', 'state'], rows
            ),
            '',
            *(
                f'model {model}: {" or ".join(map(str, sorted(set(own.num_labeled.values()))))} labeled, '
                f'{own.num_unlabeled} unlabeled images'
                for model, own in data.models.items()
            ),
            f'{sum(steps.values())} optimizer steps, {sum(to_label.values())} images to label in {len(labels)} label '
            'phases',
            f'pseudo labels: at most {max(each, default=0) / 2**20:,.1f} MiB per label phase (before compression), '
            f'{held / 2**20:,.1f} MiB on disk at a time ' + ('(kept)' if keep else '(deleted after use)'),
            *(f'behavior of the published code: {behaviour}' for behaviour in behaviours),
            *_class_table(data),
            *(f'warning: {warning}' for warning in data.warnings),
        ]
    )


def _class_table(data: RunData) -> list[str]:
    """How often each class occurs in each labeled set, in percent; empty before the data was checked."""
    if not data.class_counts:
        return []
    names = data.class_names(len(next(iter(data.class_counts.values()))))
    totals = {title: max(1, sum(counts)) for title, counts in data.class_counts.items()}
    rows = [
        [f'{index} {name}', *(_share(counts[index], totals[title]) for title, counts in data.class_counts.items())]
        for index, name in enumerate(names)
    ]
    return ['', markdown_table(['class', *(f'{title}, %' for title in data.class_counts)], rows), '']


def _share(count: int, total: int) -> str:
    return 'none' if not count else f'{100 * count / total:.2f}'


def _labeled(data: RunData, phase: Phase) -> str:
    """How many labeled images a train phase uses."""
    return str(data.models[phase.model].num_labeled[stage_of(phase)])


def _row(manifest: Manifest, phase: Phase, metric: str) -> list[str]:
    record = manifest.record(phase.name) or {}
    labels = manifest.record(phase.labels) or {} if phase.labels else record
    trains = phase.kind == 'train'
    return [
        phase.name,
        phase.model if trains else '',
        (phase.teacher or '') if trains else phase.model,
        str(record.get('labeled', '')),
        '' if phase.label_ratio is None else f'{phase.label_ratio:g}',
        f'{labels["coverage"]:.4f}' if 'coverage' in labels else '',
        f'{labels["accuracy"]:.2f}' if 'accuracy' in labels else '',
        _number(manifest.score(phase, metric)) if trains else '',
        _duration(record['seconds']) if 'seconds' in record else 'not run',
    ]


def _summary(manifest: Manifest, settings: DMTSettings) -> list[list[str]]:
    rows = []
    result = 'Method' if settings.scheme == 'single' else 'DMT'
    for name, iteration in (('Baseline', 0), (result, manifest.phases[-1].iteration)):
        phases = {
            phase.model: phase for phase in manifest.phases if phase.kind == 'train' and phase.iteration == iteration
        }
        if not phases:  # a method that trains in one phase, without a baseline
            continue
        rows.append([name, *(_number(manifest.score(phases[model], settings.metric)) for model in settings.models)])
    return rows


def _last_scores(manifest: Manifest, metric: str) -> list[tuple[str, float | None]]:
    trains = [phase for phase in manifest.phases if phase.kind == 'train']
    return [(phase.name, (manifest.record(phase.name) or {}).get('metrics_last', {}).get(metric)) for phase in trains]


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.2f}'


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))

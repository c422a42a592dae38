"""The tables of a run: the plan before it, the result after it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from mmdmt.core.ranking import IGNORED
from mmdmt.core.schedule import Phase
from mmdmt.engine.disk_space import disk_space, held_labels
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.phase_config import ModelData
from mmdmt.engine.run_data import RunData
from mmdmt.engine.settings import DMTSettings, stage_of
from mmdmt.files import free_space, megabytes
from mmdmt.labels.stores import STORES

LABEL_ACCURACY = 'label accuracy'
MEASURED_ON = dict(last='the validation set', val='the validation set', holdout='the held-out labeled images')
"""Which images ``dmt.select`` measures phases on."""


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table with aligned columns."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = [
        '| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + ' |'
        for row in [header, ['-' * width for width in widths], *rows]
    ]
    return '\n'.join(lines)


def render(manifest: Manifest, settings: DMTSettings, best: Phase, behaviours: Sequence[str] = ()) -> str:
    """Report of a complete run: all phases, then the models before and after DMT; arguments as of ``conclusion``."""
    return f'{phase_table(manifest, settings)}\n\n{conclusion(manifest, settings, best, behaviours)}'


def phase_table(manifest: Manifest, settings: DMTSettings) -> str:
    """All phases of a run, with what they reached and how long they took."""
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
    return markdown_table(header, rows)


def conclusion(manifest: Manifest, settings: DMTSettings, best: Phase, behaviours: Sequence[str] = ()) -> str:
    """Report of a complete run without its phases: the models before and after DMT, and what is to be known of them.

    Args:
        manifest: The run.
        settings: Its settings.
        best: The train phase whose checkpoint is the result.
        behaviours: See :mod:`mmdmt.engine.fidelity`.
    """
    total = sum((manifest.record(phase.name) or {}).get('seconds', 0) for phase in manifest.phases)
    parts = [
        markdown_table([settings.metric, *settings.models], _summary(manifest, settings)),
        f'{_result(manifest, settings, best)} Time of all phases: {duration(total)}.',
        *(f'Warning: {finding}.' for finding in findings(manifest, settings, best)),
        'Checkpoints: the last one of each phase.'
        if settings.select == 'last'
        else f'Checkpoints: the one of each phase with the best {settings.metric} on {MEASURED_ON[settings.select]}, '
        'on which the figures above are also measured; the last one of each phase: '
        + ', '.join(f'{name} {_number(value)}' for name, value in _last_scores(manifest, settings.metric)),
        *manifest.told_sources(),
        *(f'Behavior of the published code: {behaviour}.' for behaviour in behaviours),
        *manifest.told_changes(),
        _choice(manifest, settings, best),
    ]
    return '\n\n'.join(part for part in parts if part) + '\n'


def _result(manifest: Manifest, settings: DMTSettings, best: Phase) -> str:
    """Which model is the result, and where it is."""
    score = manifest.score(best, settings.metric)
    what = (
        'without a figure' if score is None else f'{settings.metric} {_number(score)} on {MEASURED_ON[settings.select]}'
    )
    return (
        f'{"Result" if score is None else "Best"}: model {best.model}, {what}, in best.pth '
        '(config for the stock tools: best.py).'
    )


def _choice(manifest: Manifest, settings: DMTSettings, best: Phase) -> str:
    """What chose between the models."""
    if manifest.score(best, settings.metric) is None:
        first = ': the result is the first of the last models' if len(settings.models) > 1 else ''
        return f'No phase has a {settings.metric}, as without a validation set, so nothing chose{first}.'
    if len(settings.models) == 1:
        return ''
    return f'The better of the last models is chosen by {settings.metric} on {MEASURED_ON[settings.select]}.'


def findings(manifest: Manifest, settings: DMTSettings, best: Phase) -> list[str]:
    """What the figures of a complete run say against its result: a baseline or a middle phase is better.

    Args:
        manifest: The run.
        settings: Its settings.
        best: The train phase whose checkpoint is the result.
    """
    result = manifest.score(best, settings.metric)
    if result is None:
        return []
    scores = {phase: manifest.score(phase, settings.metric) for phase in manifest.phases if phase.kind == 'train'}
    above = {phase: score for phase, score in scores.items() if score is not None and score > result}
    found = []
    for phase, score in above.items():
        if phase.supervised and phase.model == best.model:
            found.append(
                f'the result ({_number(result)}) is below the baseline of its model ({_number(score)}): DMT did not '
                'help here. Gamma, the number of steps and the learning rate of dmt.semi are what to look at'
            )
    middle = [phase for phase in above if 0 < phase.iteration < best.iteration]
    if middle:
        highest = max(middle, key=above.__getitem__)
        found.append(
            f'{len(middle)} earlier phase(s) are above the result ({_number(result)}), {highest.name} most '
            f'({_number(above[highest])}). It was not chosen, since a figure that chooses is no fair figure'
        )
    return found


def describe_plan(manifest: Manifest, data: RunData, behaviours: Sequence[str] = (), costs: Sequence[str] = ()) -> str:
    """Describe what a run will do: phases, optimizer steps, images to label, ``costs``, disk space of labels."""
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
    held = held_labels(data, each)
    return '\n'.join(
        [
            markdown_table(
                ['phase', 'student', 'teacher', 'label ratio', 'labeled', 'steps', 'images to label', 'state'], rows
            ),
            '',
            *(
                f'model {model}: {" or ".join(map(str, sorted(set(own.num_labeled.values()))))} labeled, '
                f'{own.num_unlabeled} unlabeled images' + _held_out(own)
                for model, own in data.models.items()
            ),
            *dict.fromkeys(f'labeled images: {family[1]}' for family in map(data.list_family, data.models) if family),
            f'{sum(steps.values())} optimizer steps, {sum(to_label.values())} images to label in {len(labels)} label '
            'phases',
            *filter(None, costs),
            f'pseudo labels: at most {max(each, default=0) / 2**20:,.1f} MiB per label phase (before compression), '
            f'{held / 2**20:,.1f} MiB on disk at a time ' + ('(kept)' if keep else '(deleted after use)'),
            *(_disk_lines(manifest, data) if data.weight_bytes else ()),
            *(f'behavior of the published code: {behaviour}' for behaviour in behaviours),
            *(f'{name}: {note}' for name, phase in data.phases.items() for note in phase.notes),
            *class_table(data),
            *(f'warning: {warning}' for warning in data.warnings),
        ]
    )


def _held_out(data: ModelData) -> str:
    if data.held_out is None:
        return ''
    return f'; {len(data.held_out["indices"])} labeled images held out (splits/holdout.txt)'


def _disk_lines(manifest: Manifest, data: RunData) -> list[str]:
    """Space for checkpoints, and a warning if there is too little."""
    space, free = disk_space(manifest, data), free_space(manifest.work_dir)
    lines = [f'{space.describe()}; {megabytes(free)} are free']
    return lines + (['warning: the free disk space is too small'] if space.sure > free else [])


def class_table(data: RunData) -> list[str]:
    """How often each class occurs in each labeled set, in percent; empty before the data was checked."""
    if not data.sets.class_counts:
        return []
    names = data.sets.names(data.plan.num_classes(next(iter(data.models))))
    number = len(names)
    titles = sorted(data.sets.class_counts, key=_rank)
    sets = [data.sets.class_counts[title] for title in titles]
    rows = [
        [f'{index} {name}', *(_share(counts[index], counts[:number].sum()) for counts in sets)]
        for index, name in enumerate(names)
    ]
    unit = 'images'
    if any(len(counts) > number for counts in sets):  # counts of pixels
        unit = 'pixels'
        rows.append([f'{IGNORED} (ignored)', *(_share(counts[IGNORED], counts.sum()) for counts in sets)])
    rows.append([unit, *(f'{counts.sum():,}' for counts in sets)])
    return ['', markdown_table(['class', *(f'{title}, %' for title in titles)], rows), '']


def _rank(title: str) -> int:
    starts = ('labeled', 'held out', 'unlabeled', 'val', 'test')
    return next(place for place, start in enumerate(starts) if title.startswith(start))


def _share(count: Any, total: Any) -> str:
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
        duration(record['seconds']) if 'seconds' in record else 'not run',
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


def duration(seconds: float) -> str:
    """Seconds as hours, minutes and seconds."""
    return str(timedelta(seconds=round(seconds)))

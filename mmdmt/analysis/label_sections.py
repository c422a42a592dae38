"""The sections of a report about pseudo labels: how many and how good they are, and what they look like."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from mmdmt.analysis import charts, pictures
from mmdmt.analysis.charts import MOST_CLASSES
from mmdmt.analysis.document import Chart, Grid, Picture, Section, Table
from mmdmt.analysis.label_facts import LabelFacts, Pair
from mmdmt.analysis.label_quality import CONFIDENCE_EDGES
from mmdmt.analysis.run_record import RunRecord
from mmdmt.analysis.sections import number
from mmdmt.analysis.snapshots import FOLDER, SNAPSHOT
from mmdmt.analysis.verdict import labeled_counts
from mmdmt.files import read_json

BINS = [f'{low:g}-{high:g}' for low, high in pairwise(CONFIDENCE_EDGES)]
MOST_MAPS = 3
"""Images of segmentation that the page shows."""


def labels(record: RunRecord, facts: Sequence[LabelFacts]) -> Section | None:
    """Coverage, class balance, accuracy and errors by confidence of the labels of each phase; None without labels."""
    if not facts:
        return None
    parts: list[Chart | Table] = [_summary(facts), *_balance(record, facts), _kept(record, facts)]
    known = [own for own in facts if own.true_bins is not None]
    if known:
        parts[1:1] = [_errors(record, known)]
        parts.append(_precision(record, known))
    checked = max((own.checked for own in known), default=0)
    text = (
        f'Accuracies are measured on {checked} unlabeled images with a known truth, which no model learns from.'
        if known
        else 'The truth of the unlabeled images is not known, so the accuracy of the labels is not either.'
    )
    return Section('Pseudo labels', [text], parts)


def _unit(record: RunRecord) -> str:
    return 'images' if any('images_by_class' in record.label_info(phase) for phase in record.labels) else 'pixels'


def _summary(facts: Sequence[LabelFacts]) -> Table:
    rows = [
        [
            own.phase.name,
            f'{own.phase.label_ratio or 1:g}',
            _percent(own.coverage),
            _percent(own.accuracy),
            _percent(own.accuracy_all),
            str(sum(1 for count in own.by_class if count)),
        ]
        for own in facts
    ]
    header = ['label phase', 'ratio', 'used, %', 'right of the used, %', 'right of all, %', 'classes']
    return Table(header, rows, 'How many labels a phase uses, and how many of them are right.')


def _errors(record: RunRecord, facts: Sequence[LabelFacts]) -> Chart:
    """Error rate by confidence, of the first and the last labels of each teacher."""
    chosen = [facts[place] for place in sorted({0, len(facts) // 2, len(facts) - 1})]
    errors = {own.phase.name: [_error(pair) for pair in own.true_bins or ()] for own in chosen}
    shares = [100 * share for share in chosen[-1].bins]
    unit = _unit(record)
    svg = charts.errors_by_confidence(BINS, shares, errors, unit)
    rows = [
        [name, *(f'{_percent(share)} ({number(_error(own.true_bins[place]), ".1f")})'
                 for own in facts if own.true_bins is not None for share in [own.bins[place]])]
        for place, name in enumerate(BINS)
    ]  # fmt: skip
    table = Table(['confidence', *(own.phase.name for own in facts)], rows,
                  f'Share of the {unit} by confidence, and their error rate in brackets, in percent.')  # fmt: skip
    return Chart(svg, f'Error rate of the labels by confidence of the teacher, all {unit}.', table)


def _balance(record: RunRecord, facts: Sequence[LabelFacts]) -> list[Chart]:
    """How often each class occurs: for humans, in all labels, and in those that are used."""
    names, human, own = _names(record, facts), labeled_counts(record), facts[-1]
    groups: dict[str, Sequence[float]] = {} if human is None else {'labeled set': _shares(human)}
    groups[f'labels, {own.phase.name}'] = _shares(own.by_class)
    groups['of these used'] = _shares(own.kept)
    order = sorted(range(len(names)), key=lambda index: -next(iter(groups.values()))[index])
    ordered = {title: [values[index] for index in order] for title, values in groups.items()}
    svg = charts.bars([names[index] for index in order], ordered, '% of all')
    rows = [
        [name, *([] if human is None else [number(_shares(human)[index])]),
         *(number(_shares(each.by_class)[index]) for each in facts)]
        for index, name in enumerate(names)
    ]  # fmt: skip
    header = ['class', *([] if human is None else ['labeled set']), *(each.phase.name for each in facts)]
    note = f' ({MOST_CLASSES} of {len(names)} classes)' if len(names) > MOST_CLASSES else ''
    caption = f'How often each class occurs{note}.'
    return [Chart(svg, caption, Table(header, rows, 'How often each class occurs in all labels, in percent.'))]


def _kept(record: RunRecord, facts: Sequence[LabelFacts]) -> Table:
    """The used share of the labels of each class."""
    rows = [
        [name, *(number(100 * own.kept[index] / own.by_class[index] if own.by_class[index] else math.nan, '.1f')
                 for own in facts)]
        for index, name in enumerate(_names(record, facts))
    ]  # fmt: skip
    return Table(
        ['class', *(own.phase.name for own in facts)], rows, 'Used share of the labels of each class, in percent.'
    )


def _precision(record: RunRecord, facts: Sequence[LabelFacts]) -> Table:
    """Accuracy of the used labels of each class."""
    rows = [
        [name, *(number(100 - _error((own.true_kept or ())[index]), '.1f') for own in facts)]
        for index, name in enumerate(_names(record, facts))
    ]
    caption = 'Right labels among the used ones of each class (precision), in percent.'
    return Table(['class', *(own.phase.name for own in facts)], rows, caption)


def _names(record: RunRecord, facts: Sequence[LabelFacts]) -> list[str]:
    size = len(facts[0].by_class)
    return record.classes if len(record.classes) == size else [str(index) for index in range(size)]


def _shares(counts: Sequence[int]) -> list[float]:
    return [100 * count / max(1, sum(counts)) for count in counts]


def _error(pair: Pair) -> float:
    """Error rate in percent; NaN without a label."""
    return 100 * (1 - pair[1] / pair[0]) if pair[0] else math.nan


def _percent(value: float | None) -> str:
    return number(None if value is None else 100 * value, '.1f')


def gallery(record: RunRecord) -> Section | None:
    """Images by iteration: label, weight, prediction and truth; None if no phase has kept any."""
    taken = {
        phase.name: found['images']
        for phase in record.trains
        if (found := read_json(record.work_dir / phase.name / FOLDER / SNAPSHOT))
        and isinstance(found.get('images'), list)
    }
    if not taken:
        return None
    whole = any('prediction' in row for rows in taken.values() for row in rows)
    grids = [_of_images(record, taken)] if whole else _of_maps(record, taken)
    text = (
        'Unlabeled images, evenly spaced, as each train phase has left them. Weights are those of its model at its end.'
    )
    return Section('Pictures', [text], grids)


def _of_maps(record: RunRecord, taken: Mapping[str, Sequence[Mapping]]) -> list[Grid]:
    """One grid an image: a row for what is shown, a column for a phase."""
    names = [row['name'] for row in next(iter(taken.values()))][:MOST_MAPS]
    phases = [phase for phase in record.trains if phase.name in taken]
    colors = pictures.palette_of(record.notes.get('palette'), len(record.classes))
    legend = [((255, 255, 255), 'ignored'), *zip(colors, record.classes, strict=True)]
    grids = []
    for name in names:
        image = _picture(record, '', name, 'image', 'image')
        truth = _picture(record, '', f'{name}_truth', 'truth', 'truth')
        rows: list[list[Picture | str]] = [
            [title, '', *(_picture(record, phase.name, f'{name}_{kind}', f'{title}, {phase.name}') for phase in phases)]
            for kind, title in (('label', 'pseudo label'), ('weight', 'weight'), ('prediction', 'prediction'))
        ]
        rows = [row for row in rows if any(isinstance(cell, Picture) for cell in row[2:])]
        rows[0][1] = image
        if len(rows) > 1:
            rows[-1][1] = truth
        else:  # before the first pseudo labels
            rows.append(['', truth, *([''] * len(phases))])
        caption = f'{name}: pseudo labels with ignored pixels white, their weights (dark 0, bright 1), predictions.'
        header = ['', '', *(f'{phase.iteration} {phase.model}' for phase in phases)]
        grids.append(Grid(header, rows, caption, legend if name == names[-1] else ()))
    return grids


def _picture(record: RunRecord, phase: str, name: str, text: str, caption: str = '') -> Picture | str:
    content = pictures.stored(record.work_dir / phase / FOLDER, name)
    return '' if content is None else Picture(content, text, caption)


def _of_images(record: RunRecord, taken: Mapping[str, Sequence[Mapping[str, Any]]]) -> Grid:
    """A row for a phase, a column for an image."""
    first = next(iter(taken.values()))
    names = [row['name'] for row in first]
    truths = {row['name']: row.get('truth') for rows in taken.values() for row in rows}
    top: list[Picture | str] = ['image, truth']
    for name in names:
        content = pictures.stored(record.work_dir / FOLDER, name)
        truth = truths.get(name)
        top.append('' if content is None else Picture(content, name, '' if truth is None else _class(record, truth)))
    rows = [top]
    for phase, images in taken.items():
        known = {row['name']: row for row in images}
        rows.append([phase, *(_said(record, known.get(name, {})) for name in names)])
    return Grid(
        ['', *([''] * len(names))], rows, 'Label of the teacher (confidence, weight), then prediction of the model.'
    )


def _said(record: RunRecord, row: Mapping[str, Any]) -> str:
    parts = []
    if 'label' in row:
        used = f', w {row["weight"]:.2f}' if row['used'] else ', not used'
        parts.append(f'{_class(record, row["label"])} {row["confidence"]:.2f}{used}')
    if 'prediction' in row:
        right = '' if row.get('truth') is None else ' ✓' if row['truth'] == row['prediction'] else ' ✗'
        parts.append(f'→ {_class(record, row["prediction"])} {row["probability"]:.2f}{right}')
    return '\n'.join(parts)


def _class(record: RunRecord, index: int) -> str:
    return record.classes[index] if index < len(record.classes) else str(index)

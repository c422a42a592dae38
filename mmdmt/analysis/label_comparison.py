"""Analyzes the labels that a run left on disk, without masks and without models: coverage, balance, disagreement."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmdmt.analysis.document import as_markdown
from mmdmt.analysis.label_check import evenly
from mmdmt.analysis.label_facts import LabelFacts, read_labels
from mmdmt.analysis.label_sections import labels
from mmdmt.analysis.run_record import RunRecord
from mmdmt.core.schedule import Phase
from mmdmt.errors import MissingFileError, UserError
from mmdmt.labels.maps import LabelMaps
from mmdmt.labels.table import LabelRow, LabelTable


def compare_labels(record: RunRecord, images: int) -> dict[str, Any]:
    """Figures of the labels of each label phase.

    Args:
        record: The run.
        images: For segmentation, how many images at most are compared pixel by pixel.

    Returns:
        ``phases``: name -> ``coverage``, ``class_share`` (of all labels) and, where the truth is known, ``accuracy``,
        ``accuracy_all`` and ``accuracy_by_ratio``; ``disagreement``: for pairs of phases, the share of the images or
        pixels that they label differently.

    Raises:
        MissingFileError: if no label phase is complete.
    """
    ranking = record.setting('dmt.ranking') or 'all'
    facts = [own for phase in record.labels if (own := read_labels(record, phase, ranking)) is not None]
    if not facts:
        raise MissingFileError(f'{record.work_dir}: no label phase is complete yet')
    ratios = sorted({phase.label_ratio for phase in record.labels if phase.label_ratio})
    tables = {own.phase.name: _rows(record, own.phase) for own in facts}
    pairs = [(first.phase, second.phase) for first, second in _pairs(facts)]
    disagreement = {f'{a.name} {b.name}': _disagreement(record, a, b, images) for a, b in pairs}
    return dict(
        classes=record.classes,
        label_ratios=ratios,
        phases={own.phase.name: _figures(own, tables[own.phase.name], ratios, ranking) for own in facts},
        disagreement={name: value for name, value in disagreement.items() if value is not None},
    )


def render_comparison(record: RunRecord, result: dict[str, Any]) -> str:
    """The figures as markdown: those of the report, and how much the teachers disagree."""
    ranking = record.setting('dmt.ranking') or 'all'
    facts = [own for phase in record.labels if (own := read_labels(record, phase, ranking)) is not None]
    section = labels(record, facts)
    text = as_markdown('Analysis', [section] if section else [])
    lines = [f'- {name.replace(" ", " and ")}: {100 * value:.1f} %' for name, value in result['disagreement'].items()]
    return text + ('\nLabels that differ between two label phases:\n\n' + '\n'.join(lines) + '\n' if lines else '')


def _figures(own: LabelFacts, rows: Sequence[LabelRow], ratios: Sequence[float], ranking: str) -> dict[str, Any]:
    total = max(1, sum(own.by_class))
    found: dict[str, Any] = dict(
        iteration=own.phase.iteration,
        teacher=own.phase.model,
        label_ratio=own.phase.label_ratio,
        coverage=own.coverage,
        class_share=[count / total for count in own.by_class],
    )
    if own.accuracy is not None:
        found.update(accuracy=own.accuracy, accuracy_all=own.accuracy_all)
    if rows and own.accuracy is not None:
        right = np.array([row.label == row.true_label for row in rows])
        kept = [list(LabelTable.select_rows(rows, ratio, ranking).indices) for ratio in ratios]
        found['accuracy_by_ratio'] = [float(right[indices].mean()) for indices in kept]
    return found


def _pairs(facts: Sequence[LabelFacts]) -> list[tuple[LabelFacts, LabelFacts]]:
    """Phases to compare: the teachers of an iteration, and each teacher with itself one iteration later."""
    return [
        (first, second)
        for place, first in enumerate(facts)
        for second in facts[place + 1 :]
        if first.phase.iteration == second.phase.iteration
        or (first.phase.model == second.phase.model and second.phase.iteration == first.phase.iteration + 1)
    ]


def _rows(record: RunRecord, phase: Phase) -> list[LabelRow]:
    """Labels of whole images; none for those of pixels."""
    table = LabelTable(record.work_dir / phase.name)
    return table.rows() if table.path.is_file() else []


def _disagreement(record: RunRecord, first: Phase, second: Phase, images: int) -> float | None:
    """Share of labels that differ; None if those of one phase are gone."""
    rows = _rows(record, first), _rows(record, second)
    if all(rows):
        known = {row.name: row.label for row in rows[0]}
        return float(np.mean([known.get(row.name) != row.label for row in rows[1]]))
    stores = [LabelMaps(record.work_dir / phase.name) for phase in (first, second)]
    common = sorted(set.intersection(*(store.names() for store in stores)))
    different = total = 0
    for place in evenly(len(common), images) if common else ():
        try:
            a, b = (store.read(common[place])[0] for store in stores)
        except (OSError, UserError):
            continue
        if a.shape == b.shape:
            different, total = different + int((a != b).sum()), total + a.size
    return different / total if total else None

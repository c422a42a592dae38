"""Says in words what the figures of a run mean, and what to try."""

import math
from collections.abc import Mapping, Sequence

from mmdmt.analysis.label_facts import LabelFacts
from mmdmt.analysis.references import NO_REFERENCES, References
from mmdmt.analysis.run_record import RunRecord
from mmdmt.core.alarms import LOST, LOW_WEIGHT, WINDOW, lost_classes
from mmdmt.core.schedule import Phase
from mmdmt.engine.result import best_phase

EQUAL = 0.3
"""Difference in percent below which two single runs are called equal, however many images are tested."""
DEAD = 1.0
"""IoU or accuracy in percent below which a class is called lost."""
LOW_COVERAGE = 0.5


def verdict(record: RunRecord, labels: Sequence[LabelFacts] = (), references: References = NO_REFERENCES) -> list[str]:
    """Sentences about a run: its state first, then its result, then what is wrong and what to try."""
    return [
        _state(record),
        *_results(record, references),
        *_lost_classes(record, labels),
        *_labels(labels),
        *_weights(record),
    ]


def _state(record: RunRecord) -> str:
    done, number = len(record.records), len(record.phases)
    if record.complete:
        best = best_phase(record.manifest, record.metric)
        score = record.score(best)
        figure = 'without a figure' if score is None else f'{record.metric} {score:.2f} on {measured_on(record)}'
        chosen = 'Best' if score is not None and len(record.models) > 1 else 'Result'
        return f'{chosen}: model {best.model}, {figure}, in best.pth.'
    following = next((phase.name for phase in record.phases if phase.name not in record.records), '')
    return f'{done} of {number} phases are complete; the next one is {following}. --resume continues the run.'


def measured_on(record: RunRecord) -> str:
    """Which images the figures are measured on."""
    held_out = (record.notes.get('select') or record.setting('dmt.select')) == 'holdout'
    return 'the held-out labeled images' if held_out else 'the validation set'


def _results(record: RunRecord, references: References) -> list[str]:
    found, gains, beyond, oracle = [], [], [], references.oracle
    for model in record.models:
        scores = record.scores(model)
        last = max(scores, default=0)
        if not last or 0 not in scores:
            continue
        gain, control = scores[last] - scores[0], references.controls.get(model)
        what = f'Model {model}: {scores[last]:.2f} after iteration {last}, baseline {scores[0]:.2f} ({gain:+.2f})'
        if control is not None:
            beyond.append(scores[last] - control)
            what += f', labels only {control:.2f} ({beyond[-1]:+.2f})'
        if oracle is not None and oracle > scores[0]:
            what += f', Oracle {oracle:.2f}: {100 * gain / (oracle - scores[0]):.0f} % of the gap is closed'
        found.append(what + '.' + _better_before(scores, last, equal(record)))
        gains.append(gain)
    if gains:
        found.append(_meaning(gains, equal(record), controlled=bool(beyond)))
    if len(beyond) == len(record.models) and record.complete:
        found.append(_beyond_labels(beyond, equal(record)))
    return found


def _better_before(scores: Mapping[int, float], last: int, noise: float) -> str:
    """Whether a middle iteration was better than the last one."""
    best = max(scores, key=scores.__getitem__)
    if not 0 < best < last or scores[best] <= scores[last]:
        return ''
    within = '' if scores[best] > scores[last] + noise else ', which is within what two such runs differ by'
    return (
        f' It was better after iteration {best} ({scores[best]:.2f}){within}; a figure that chooses the iteration is '
        "no fair figure, but dmt.select='holdout' may choose on labeled images."
    )


def _meaning(gains: Sequence[float], noise: float, controlled: bool) -> str:
    if min(gains) > noise:
        return 'The result is better than the baseline.' + (
            ''
            if controlled
            else ' Whether the pseudo labels or only the further steps did it, a control tells: as many steps with '
            'labels only (docs/compare.md); --control of tools/report.py compares with it.'
        )
    if max(gains) < -noise:
        return (
            'The method did not help here. Look at the accuracy of the labels below, at gamma (docs/loss.md), and at '
            'the learning rate and the number of steps of dmt.semi.'
        )
    return (
        f'No clear difference to the baseline (within {noise:.1f}, or not for all models); several seeds tell more '
        '(tools/experiment.py).'
    )


def _beyond_labels(gains: Sequence[float], noise: float) -> str:
    """What differences to controls mean."""
    if min(gains) > noise:
        return 'It is better than as many steps with labels only: the pseudo labels did it.'
    if max(gains) < -noise:
        return 'As many steps with labels only are better: here, the pseudo labels cost more than they gave.'
    return (
        f'It does not clearly differ from as many steps with labels only (within {noise:.1f}, or not for all models): '
        'the further steps may have done it, not the pseudo labels.'
    )


def equal(record: RunRecord) -> float:
    """Difference in percent that is noise: for whole images, at least the deviation of an accuracy of 50 %."""
    tested = sum((record.notes.get('class_counts') or {}).get('val') or ())
    return max(EQUAL, 50 / math.sqrt(tested)) if tested and record.notes.get('task') == 'table' else EQUAL


def _lost_classes(record: RunRecord, labels: Sequence[LabelFacts]) -> list[str]:
    found = []
    for model in record.models:
        phases = [phase for phase in record.trains if phase.model == model and record.class_figures(phase)]
        if len(phases) > 1:
            first, last = record.class_figures(phases[0]), record.class_figures(phases[-1])
            lost = [name for name in last if last[name] < DEAD <= first.get(name, 0.0)]
            if lost:
                found.append(
                    f'Model {model} has lost {_names(lost)}: {record.class_figure} below {DEAD:g}, but not after the '
                    'baseline. More labeled images of this, or fewer labels of frequent classes (smaller '
                    'dmt.label_ratios) may help.'
                )
    return found + _missing_labels(record, labels)


def _missing_labels(record: RunRecord, labels: Sequence[LabelFacts]) -> list[str]:
    human = labeled_counts(record)
    if human is None or not labels:
        return []
    own = labels[-1]
    missing = [record.classes[index] for index in lost_classes(own.kept, human, LOST)]
    if not missing:
        return []
    return [
        f'The labels of {own.phase.name} hardly contain {_names(missing)}, though the labeled images do: the teacher '
        'does not predict this.'
    ]


def labeled_counts(record: RunRecord) -> Sequence[int] | None:
    """Number of pixels or images of each class in the labeled set; None if it was not noted."""
    counts = record.notes.get('class_counts') or {}
    return next((counts[title] for title in sorted(counts) if title.startswith('labeled')), None)


def _labels(labels: Sequence[LabelFacts]) -> list[str]:
    known = [own for own in labels if own.accuracy is not None]
    found = []
    if len(known) > 1:
        (first, before), (last, now) = (
            (own.phase.name, 100 * (own.accuracy_all or 0)) for own in (known[0], known[-1])
        )
        trend = 'the teachers improve' if now > before + EQUAL else 'the teachers do not improve'
        found.append(
            f'Of all labels, {before:.1f} % are right in {first} and {now:.1f} % in {last}: {trend}. Of those used in '
            f'{last}, {100 * (known[-1].accuracy or 0):.1f} % are right.'
        )
    thin = [own.phase.name for own in labels if own.coverage < LOW_COVERAGE * (own.phase.label_ratio or 1)]
    if thin:
        found.append(f'{", ".join(thin)}: far fewer labels are kept than dmt.label_ratios asks for.')
    return found


def _weights(record: RunRecord) -> list[str]:
    last = [phase for phase in record.trains if phase.labels and phase.name in record.records][-len(record.models) :]
    found = []
    for phase in last:
        weight = mean_weight(record, phase)
        if weight is not None and weight < LOW_WEIGHT:
            found.append(
                f'{phase.name}: the mean weight of the labels is {weight:.3f}, so they teach next to nothing. A '
                'smaller gamma1 or gamma2 (docs/loss.md) raises it.'
            )
    return found


def mean_weight(record: RunRecord, phase: Phase) -> float | None:
    """Mean weight of the pseudo labels over the last tenth of a phase; None if it was not logged."""
    values = [line['mean_weight'] for line in record.scalars(phase) if math.isfinite(line.get('mean_weight', math.nan))]
    tail = values[-max(1, int(len(values) * WINDOW)) :]
    return sum(tail) / len(tail) if tail else None


def _names(names: Sequence[str]) -> str:
    shown = ', '.join(names[:8])
    return shown + (f' and {len(names) - 8} more' if len(names) > 8 else '')

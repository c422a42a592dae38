"""The tables of an analysis."""

import math
from itertools import pairwise
from typing import Any

from mmdmt.analysis.label_quality import CASES, CONFIDENCE_EDGES
from mmdmt.engine.report import markdown_table


def render_analysis(result: dict[str, Any]) -> str:
    """Render the result of :meth:`mmdmt.analysis.label_analysis.Analysis.run` as markdown."""
    phases = result['phases']
    names = list(phases)
    bins = list(pairwise(CONFIDENCE_EDGES))
    parts = [
        f'{result["images"]} unlabeled images, without augmentation; pixels with true label 255 are ignored. '
        'Students are those of the beginning of a phase. Accuracies, shares and errors are in %.',
        '## Labels and weights\n\nFor the labels that a phase selects: accuracy, mean weight of right and wrong ones, '
        'and how well a score separates them (AUC). w: dynamic weight, c: confidence of the teacher, p_B: '
        "the student's probability of the teacher's class.",
        markdown_table(*_summary(phases)),
        '## Accuracy by label ratio\n\nFor the most confident share of each class.',
        markdown_table(
            ['phase', *(f'{100 * ratio:g} %' for ratio in result['label_ratios'])],
            [[name, *map(_percent, phases[name]['accuracy_by_ratio'])] for name in names],
        ),
        '## Kept weight mass by class\n\nMean weight of the labels of a class that a phase selects; the accuracy of '
        'these labels in brackets.',
        markdown_table(
            ['class', *names],
            [
                [
                    str(cls),
                    *(
                        f'{_number(phases[name]["class_weight_mass"][index])} '
                        f'({_percent(phases[name]["class_accuracy"][index])})'
                        for name in names
                    ),
                ]
                for index, cls in enumerate(result['classes'])
            ],
        ),
        '## Error by confidence\n\nFor all labels; the share of the bin in brackets.',
        markdown_table(
            ['confidence', *names],
            [
                [f'{low:g}-{high:g}', *(_error(phases[name]['error_by_confidence'][index]) for name in names)]
                for index, (low, high) in enumerate(bins)
            ],
        ),
        '## Cases of the dynamic loss\n\nShare of the selected labels / teacher right / student right.',
        markdown_table(
            ['phase', *CASES],
            [
                [name, *(' / '.join(map(_percent, phases[name]['cases'][case].values())) for case in CASES)]
                for name in names
            ],
        ),
    ]
    return '# Analysis\n\n' + '\n\n'.join(parts) + '\n'


def _summary(phases: dict[str, dict]) -> tuple[list[str], list[list[str]]]:
    header = ['phase', 'teacher', 'ratio', 'accuracy', 'of all labels', 'w right', 'w wrong',
              'AUC w', 'AUC c', 'AUC w c', 'AUC p_B']  # fmt: skip
    rows = [
        [
            name,
            own['teacher'],
            f'{own["label_ratio"]:g}',
            _percent(own['accuracy']),
            _percent(own['accuracy_all']),
            *(_number(own['mean_weight'][side]) for side in ('right', 'wrong')),
            *(_number(own['auc'][score]) for score in ('weight', 'confidence', 'weight * confidence', 'p_B')),
        ]
        for name, own in phases.items()
    ]
    return header, rows


def _error(pair: tuple[float, float]) -> str:
    return f'{_percent(pair[1])} ({_percent(pair[0])})'


def _percent(value: float) -> str:
    return '-' if math.isnan(value) else f'{100 * value:.1f}'


def _number(value: float) -> str:
    return '-' if math.isnan(value) else f'{value:.3f}'

import json
import math
import re

import pytest

from mmdmt.core.schedule import plan
from mmdmt.engine import report
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.result import best_phase
from mmdmt.engine.settings import DMTSettings

SETTINGS = dict(labeled={}, unlabeled={}, label_pipeline=[], supervised={}, semi={}, metric='mIoU', ranking='class')
MUTUAL = DMTSettings(models={'a': {}, 'b': {}}, label_ratios=(0.5, 1.0), **SETTINGS)
PHASES = plan('mutual', ['a', 'b'], (0.5, 1.0))
SCORES = {
    '00_train_a': 50.0, '00_train_b': 51.234, '01_train_a': 99.0, '01_train_b': 55.0, '02_train_a': 60.5,
    '02_train_b': 61.25,
}  # fmt: skip


@pytest.fixture
def manifest(tmp_path):
    """A complete run made by hand; the best model of all is not one of the last iteration."""
    made = Manifest(tmp_path, PHASES)
    for number, phase in enumerate(PHASES):
        record = dict(seconds=60.0 * number + 0.4)
        if phase.kind == 'label':
            record['coverage'] = phase.label_ratio + 0.01
        else:
            record['labeled'] = 7
            record['metrics'] = {'mIoU': SCORES[phase.name]}
            record['metrics_last'] = {'mIoU': SCORES[phase.name] - 1}
        made.folder(phase.name).mkdir()
        (made.folder(phase.name) / 'phase.json').write_text(json.dumps(record))
    return made


def test_render(manifest):
    assert (
        report.render(manifest, MUTUAL, PHASES[-3])
        == """\
| phase      | student | teacher | labeled | label ratio | coverage | mIoU  | time    |
| ---------- | ------- | ------- | ------- | ----------- | -------- | ----- | ------- |
| 00_train_a | a       |         | 7       |             |          | 50.00 | 0:00:00 |
| 00_train_b | b       |         | 7       |             |          | 51.23 | 0:01:00 |
| 01_label_a |         | a       |         | 0.5         | 0.5100   |       | 0:02:00 |
| 01_train_b | b       | a       | 7       | 0.5         | 0.5100   | 55.00 | 0:03:00 |
| 01_label_b |         | b       |         | 0.5         | 0.5100   |       | 0:04:00 |
| 01_train_a | a       | b       | 7       | 0.5         | 0.5100   | 99.00 | 0:05:00 |
| 02_label_a |         | a       |         | 1           | 1.0100   |       | 0:06:00 |
| 02_train_b | b       | a       | 7       | 1           | 1.0100   | 61.25 | 0:07:00 |
| 02_label_b |         | b       |         | 1           | 1.0100   |       | 0:08:00 |
| 02_train_a | a       | b       | 7       | 1           | 1.0100   | 60.50 | 0:09:00 |

| mIoU     | a     | b     |
| -------- | ----- | ----- |
| Baseline | 50.00 | 51.23 |
| DMT      | 60.50 | 61.25 |

Best: model b, mIoU 61.25 on the validation set, in best.pth (config for the stock tools: best.py). Time \
of all phases: 0:45:04.

Warning: 1 earlier phase(s) are above the result (61.25), 01_train_a most (99.00). It was not chosen, since a figure \
that chooses is no fair figure.

Checkpoints: the last one of each phase.

The better of the last models is chosen by mIoU on the validation set.
"""
    )


def test_wording_where_validation_selects(manifest):
    settings = DMTSettings(models={'a': {}, 'b': {}}, label_ratios=(0.5, 1.0), select='val', **SETTINGS)
    text = report.render(manifest, settings, PHASES[-3])
    assert (
        'Checkpoints: the one of each phase with the best mIoU on the validation set, on which the figures above are '
        'also measured; the last one of each phase: 00_train_a 49.00, 00_train_b 50.23, 01_train_b 54.00, '
        '01_train_a 98.00, 02_train_b 60.25, 02_train_a 59.50\n' in text
    )
    assert 'the last one of each phase.' not in text


def test_one_model(tmp_path):
    settings = DMTSettings(models={'a': {}}, scheme='self', label_ratios=(1.0,), **SETTINGS)
    manifest = Manifest(tmp_path, plan('self', ['a'], (1.0,)))
    text = report.render(manifest, settings, manifest.phases[-1])
    assert '| 00_train_a | a       |         |         |             |          | -    | not run |' in text
    assert '| 01_train_a | a       | a       |         | 1           |          | -    | not run |' in text
    assert 'The better of' not in text


def scored(manifest, **scores):
    """The manifest, with other scores of some phases; None for no validation."""
    for name, score in scores.items():
        path = manifest.folder(name.removeprefix('p')) / 'phase.json'
        metrics = {} if score is None else {'mIoU': score}
        path.write_text(json.dumps({**json.loads(path.read_text()), 'metrics': metrics}))
    return manifest


def test_result_below_its_own_baseline(manifest):
    text = report.render(scored(manifest, p00_train_b=62.0, p01_train_a=61.0), MUTUAL, PHASES[-3])
    assert 'Warning: the result (61.25) is below the baseline of its model (62.00): DMT did not help here.' in text
    assert 'earlier phase' not in text


def test_baseline_of_the_other_model_is_no_warning(manifest):
    assert report.findings(scored(manifest, p00_train_a=99.0, p01_train_a=61.25), MUTUAL, PHASES[-3]) == []


@pytest.mark.parametrize('score', [None, math.nan])
def test_nothing_chose(manifest, score):
    scored(manifest, **{f'p{name}': score for name in SCORES})
    best = best_phase(manifest, 'mIoU')
    text = report.render(manifest, MUTUAL, best)
    assert best.name == '02_train_b'
    assert 'Result: model b, without a figure, in best.pth' in text
    assert 'No phase has a mIoU, as without a validation set, so nothing chose: the result is the first of the' in text
    assert 'Best' not in text
    assert 'chosen by' not in text
    assert '| -    ' in text
    assert not re.search(r'\bnan\b', text)


@pytest.mark.parametrize('missing', [None, math.nan])
def test_a_model_without_a_figure_is_never_the_best(manifest, missing):
    scored(manifest, p02_train_b=missing, p02_train_a=0.0)
    assert best_phase(manifest, 'mIoU').name == '02_train_a'


def test_one_model_without_validation(tmp_path):
    settings = DMTSettings(models={'a': {}}, scheme='self', label_ratios=(1.0,), **SETTINGS)
    manifest = Manifest(tmp_path, plan('self', ['a'], (1.0,)))
    text = report.render(manifest, settings, manifest.phases[-1])
    assert 'Result: model a, without a figure' in text
    assert 'No phase has a mIoU, as without a validation set, so nothing chose.' in text


@pytest.mark.parametrize('baseline', [True, False])
def test_a_method_that_trains_in_one_phase(tmp_path, baseline):
    settings = DMTSettings(models={'a': {}}, scheme='single', label_ratios=(), **SETTINGS)
    manifest = Manifest(tmp_path, plan('single', ['a'], (), baseline=baseline))
    text = report.render(manifest, settings, manifest.phases[-1])
    assert '| Method   | - |' in text if baseline else '| Method | - |' in text
    assert ('| Baseline' in text) == baseline

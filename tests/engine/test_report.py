import json

import pytest

from mmdmt.core.schedule import plan
from mmdmt.engine import report
from mmdmt.engine.manifest import Manifest
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


def test_render(manifest, tmp_path):
    assert (
        report.render(manifest, MUTUAL, PHASES[-3])
        == f"""\
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

Best: model b, mIoU 61.25 on the validation set, in {tmp_path}/best.pth (config for the stock tools: \
{tmp_path}/best.py). Time of all phases: 0:45:04.

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


@pytest.mark.parametrize('baseline', [True, False])
def test_a_method_that_trains_in_one_phase(tmp_path, baseline):
    settings = DMTSettings(models={'a': {}}, scheme='single', label_ratios=(), **SETTINGS)
    manifest = Manifest(tmp_path, plan('single', ['a'], (), baseline=baseline))
    text = report.render(manifest, settings, manifest.phases[-1])
    assert '| Method   | - |' in text if baseline else '| Method | - |' in text
    assert ('| Baseline' in text) == baseline

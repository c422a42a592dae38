import shutil

import numpy as np
import pytest

from mmdmt.analysis.label_comparison import compare_labels, render_comparison
from mmdmt.analysis.run_record import RunRecord
from mmdmt.core.schedule import plan
from mmdmt.errors import MissingFileError
from mmdmt.labels.table import LabelRow, LabelTable


def test_pixels(made_run):
    work_dir = made_run()
    from mmdmt.labels.maps import LabelMaps

    store = LabelMaps(work_dir / '01_label_b')
    label, code = store.read('000000_0')
    store.write('000000_0', np.where(label == 0, np.uint8(2), label), code)
    record = RunRecord.read(work_dir)
    result = compare_labels(record, 10)
    assert result['phases']['01_label_a']['coverage'] == 0.5
    assert result['phases']['01_label_a']['class_share'] == [pytest.approx(1 / 3), pytest.approx(2 / 3), 0]
    assert 'accuracy' not in result['phases']['01_label_a']
    assert result['disagreement'] == {'01_label_a 01_label_b': 3 / 12}
    text = render_comparison(record, result)
    assert '- 01_label_a and 01_label_b: 25.0 %' in text
    assert '| 01_label_a  | 0.5   | 50.0' in text


def test_labels_that_are_gone_are_not_compared(made_run):
    work_dir = made_run()
    shutil.rmtree(work_dir / '01_label_b/labels')
    record = RunRecord.read(work_dir)
    result = compare_labels(record, 10)
    assert result['disagreement'] == {}
    assert list(result['phases']) == ['01_label_a', '01_label_b']
    assert 'differ' not in render_comparison(record, result)


def test_images(tmp_path):
    phases = plan('self', ['a'], (0.5, 1.0))
    for name, first in (('01_label_a', 0), ('02_label_a', 1)):
        store = LabelTable(tmp_path / name)
        rows = [('x', first, 3.0, 0), ('y', 1, 2.0, 1), ('z', 1, 1.0, 0), ('w', 0, 0.0, 1)]
        store.append([LabelRow(*row) for row in rows])
        store.finish(num_classes=2, images_by_class=[2 - first, 2 + first])
    record = RunRecord(tmp_path, phases, {}, {})
    result = compare_labels(record, 10)
    assert result['label_ratios'] == [0.5, 1.0]
    assert result['phases']['01_label_a']['accuracy_by_ratio'] == [1.0, 0.5]
    assert result['phases']['02_label_a']['accuracy_by_ratio'] == [0.5, 0.25]
    assert result['phases']['02_label_a']['accuracy'] == 0.25
    assert result['disagreement'] == {'01_label_a 02_label_a': 0.25}


def test_no_labels_yet(tmp_path):
    with pytest.raises(MissingFileError, match='no label phase is complete yet'):
        compare_labels(RunRecord(tmp_path, plan('self', ['a'], (1.0,)), {}, {}), 10)

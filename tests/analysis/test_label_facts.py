import json

import pytest

from mmdmt.analysis.label_facts import read_labels, share
from mmdmt.analysis.run_record import RunRecord
from mmdmt.core.schedule import plan
from mmdmt.labels.table import LabelRow, LabelTable


def test_pixels(made_run):
    work_dir = made_run()
    (work_dir / '01_label_a/label_check.json').write_text(
        json.dumps(dict(images=2, all=[[4, 3], [7, 5], [0, 0]], kept=[[2, 1], [4, 3], [0, 0]], bins=[[1, 1]] * 9))
    )
    record = RunRecord.read(work_dir)
    facts = read_labels(record, record.labels[0])
    assert (list(facts.by_class), list(facts.kept)) == ([4, 8, 0], [2, 4, 0])
    assert facts.coverage == 0.5
    assert facts.accuracy == pytest.approx(4 / 6)
    assert facts.accuracy_all == pytest.approx(8 / 11)
    assert sum(facts.bins) == pytest.approx(1)
    assert facts.checked == 2


def test_pixels_without_a_truth(made_run):
    record = RunRecord.read(made_run())
    facts = read_labels(record, record.labels[0])
    assert facts.true_bins is None
    assert facts.accuracy is None


@pytest.mark.parametrize('known', [True, False])
def test_images(tmp_path, known):
    phases = plan('self', ['a'], (0.5,))
    store = LabelTable(tmp_path / phases[1].name)
    truth = [0, 1, 1, 0] if known else [None] * 4
    rows = [(0, 5.0), (1, 0.0), (0, 8.0), (1, -0.5)]
    store.append([LabelRow(f'{i}', *row, true) for i, (row, true) in enumerate(zip(rows, truth, strict=True))])
    store.finish(num_classes=3, images_by_class=[2, 2, 0])
    record = RunRecord(tmp_path, phases, {}, {})
    facts = read_labels(record, phases[1])
    assert (list(facts.by_class), facts.kept) == ([2, 2, 0], [2, 0, 0])
    # sigmoid: 0.9933, 0.5, 0.9997, 0.38
    assert list(facts.bins) == [0.25, 0.25, 0, 0, 0, 0, 0, 0.25, 0.25]
    by_class = read_labels(record, phases[1], 'class')
    assert by_class.kept == [1, 1, 0]
    if known:
        assert facts.true_all == [(2, 1), (2, 1), (0, 0)]
        assert facts.accuracy == 0.5
        assert by_class.true_kept == [(1, 0), (1, 1), (0, 0)]
        assert [pair for pair in facts.true_bins if pair[0]] == [(1, 0), (1, 1), (1, 1), (1, 0)]
    else:
        assert facts.accuracy is None


@pytest.mark.parametrize('name', ['histogram.npz', 'labels.json', 'label_check.json'])
@pytest.mark.parametrize('content', [b'', b'{}', b'PK\x03\x04 cut off'])
def test_damage_is_no_error(made_run, name, content):
    work_dir = made_run()
    (work_dir / '01_label_a' / name).write_bytes(content)
    record = RunRecord.read(work_dir)
    facts = read_labels(record, record.labels[0])
    assert facts is None or facts.accuracy is None
    assert read_labels(record, record.labels[1]) is not None


def test_share():
    assert share([(3, 1), (1, 1)]) == 0.5
    assert share([(0, 0)]) is None
    assert share(None) is None

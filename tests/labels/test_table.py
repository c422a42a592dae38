import csv
import json
import math
import os

import numpy as np
import pytest

from mmdmt.core.ranking import ClassHistogram
from mmdmt.labels import store as label_store
from mmdmt.labels.maps import LabelMaps
from mmdmt.labels.stores import STORES, open_store
from mmdmt.labels.table import LabelRow, LabelTable, SelectedImages

# Five images; by confidence: d (true label 2, taken for 1), b, a, e, c.
ROWS = [
    LabelRow('000000_a', 0, 2.0, 0),
    LabelRow('000001_b', 1, 2.5, 1),
    LabelRow('000002_c', 1, -0.5, 0),
    LabelRow('000003_d', 1, 40.0, 2),
    LabelRow('000004_e', 0, 1.0),
]
NAMES = [row.name for row in ROWS]


def part_files(root):
    return sorted(path.name for path in root.glob('part-*.csv'))


@pytest.fixture
def table(tmp_path):
    table = LabelTable(tmp_path / 'labels_of_f')
    table.append(ROWS)
    table.finish(num_classes=3)
    return table


@pytest.mark.parametrize('finished', [False, True])
def test_float32_log_odds_come_back_exactly(tmp_path, finished):
    generator = np.random.default_rng(0)
    any_positive = generator.integers(0, 0x7F800000, 2000, dtype=np.uint32).view(np.float32)  # 1e-45 to 3e38
    usual = generator.normal(8, 6, 2000).astype(np.float32).clip(min=-6)
    values = np.concatenate([any_positive, usual, np.float32([np.inf])])
    table = LabelTable(tmp_path)
    table.append([LabelRow(f'{index:06d}', 0, float(value)) for index, value in enumerate(values)])
    if finished:
        table.finish()
    read = np.array([row.log_odds for row in LabelTable(tmp_path).rows()])
    np.testing.assert_array_equal(read.astype(np.float32).view(np.uint32), values.view(np.uint32))
    np.testing.assert_array_equal(table.select_rows(table.rows(), 1.0).indices, np.arange(4001))


def test_columns_are_for_humans_too(table):
    lines = table.path.read_text().splitlines()
    assert lines == [
        'name,label,confidence,log_odds,true_label',
        '000000_a,0,0.880797,2,0',
        '000001_b,1,0.924142,2.5,1',
        '000002_c,1,0.377541,-0.5,0',
        '000003_d,1,1.000000,40,2',
        '000004_e,0,0.731059,1,',
    ]


def test_rows_come_back(table):
    rows = LabelTable(table.root).rows()
    assert rows == ROWS
    for row in rows:
        assert [type(cell) for cell in row[:3]] == [str, int, float]
    assert rows[4].true_label is None


AWKWARD = [
    '000000_a,b',
    '000001_"quoted" name',
    '000002_größe 画像',
    "000003_it's; a\ttab",
    '000004_ space ',
    '000005_',
]


@pytest.mark.parametrize('finished', [False, True])
def test_awkward_names(tmp_path, finished):
    rows = [LabelRow(name, index, 1.0, index) for index, name in enumerate(AWKWARD)]
    table = LabelTable(tmp_path)
    table.append(rows)
    if finished:
        table.finish()
        with open(table.path, newline='', encoding='utf-8') as file:
            assert [cells[0] for cells in csv.reader(file)] == ['name', *AWKWARD]
    assert LabelTable(tmp_path).rows() == rows
    assert LabelTable(tmp_path).names() == set(AWKWARD)


@pytest.mark.parametrize('name', ['0_next\u0085line', '0_line\u2028separator', '0_form\x0cfeed'])
def test_names_with_line_separators(tmp_path, name):
    table = LabelTable(tmp_path)
    table.append([LabelRow(name, 0, 1.0), LabelRow('1_x', 1, 1.0)])
    assert table.names() == {name, '1_x'}


def test_a_new_store_is_empty(tmp_path):
    table = LabelTable(tmp_path / 'not' / 'yet')
    assert table.rows() == []
    assert table.names() == set()
    assert not table.complete
    assert not table.root.exists()


def test_each_writer_has_a_part(tmp_path):
    first, second = LabelTable(tmp_path), LabelTable(tmp_path)
    second.append(ROWS[3:4])
    first.append(ROWS[4:])
    second.append(ROWS[:1])
    first.append(ROWS[1:3])
    assert part_files(tmp_path) == ['part-0.csv', 'part-1.csv']
    for table in (first, second, LabelTable(tmp_path)):
        assert table.rows() == ROWS  # ordered by name
    assert not first.complete


@pytest.mark.parametrize('half', ['000002_c,1,0.3775', '000002_c', '000002_c,1,0.377541,-0.5,0', '"000002_c', ','])
def test_half_a_last_line_of_a_killed_writer_is_dropped(tmp_path, half):
    killed = LabelTable(tmp_path)
    killed.append(ROWS[:2])
    with open(tmp_path / 'part-0.csv', 'a') as file:
        file.write(half)
    assert LabelTable(tmp_path).names() == {'000000_a', '000001_b'}
    later = LabelTable(tmp_path)
    later.append(ROWS[2:])
    assert part_files(tmp_path) == ['part-0.csv', 'part-1.csv']
    assert (tmp_path / 'part-0.csv').read_text().endswith('\n' + half)
    assert later.rows() == ROWS
    later.finish()
    assert later.path.read_text().count('000002_c') == 1
    assert later.rows() == ROWS


def test_half_a_character_of_a_killed_writer_is_dropped(tmp_path):
    LabelTable(tmp_path).append([LabelRow('000000_ä', 0, 1.0)])
    with open(tmp_path / 'part-0.csv', 'ab') as file:
        file.write('000001_ö'.encode()[:-1])
    assert LabelTable(tmp_path).names() == {'000000_ä'}


def test_writer_killed_before_its_first_line(tmp_path):
    (tmp_path / 'part-0.csv').touch()
    table = LabelTable(tmp_path)
    table.append(ROWS)
    assert part_files(tmp_path) == ['part-0.csv', 'part-1.csv']
    assert table.rows() == ROWS


def test_finish_leaves_one_ordered_file(tmp_path):
    first, second = LabelTable(tmp_path), LabelTable(tmp_path)
    first.append(ROWS[::-2])
    second.append(ROWS[1::2])
    first.finish(num_classes=3, coverage=0.5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['labels.csv', 'labels.json']
    assert first.complete
    assert LabelTable(tmp_path).rows() == ROWS
    info = json.loads((tmp_path / 'labels.json').read_text())
    assert (info['num_images'], info['num_classes'], info['coverage']) == (5, 3, 0.5)
    assert first.info() == info


def test_labels_json_is_written_after_the_table_and_before_the_parts_go(tmp_path, monkeypatch):
    table = LabelTable(tmp_path)
    table.append(ROWS)

    def killed(*_):
        assert sorted(path.name for path in tmp_path.iterdir()) == ['labels.csv', 'part-0.csv']
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(label_store, 'write_json', killed)
        table.finish()
    assert not table.complete
    again = LabelTable(tmp_path)
    assert again.rows() == ROWS
    again.finish()
    assert again.complete
    assert again.rows() == ROWS
    assert part_files(tmp_path) == []


def test_table_is_put_in_place_whole(tmp_path, monkeypatch):
    table = LabelTable(tmp_path)
    table.append(ROWS)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, 'replace', killed)
        table.finish()
    assert not table.path.exists()
    assert LabelTable(tmp_path).rows() == ROWS
    LabelTable(tmp_path).finish()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['labels.csv', 'labels.json']


@pytest.mark.parametrize(
    ('ratio', 'ranking', 'indices'),
    [
        (0.2, 'all', [3]),
        (0.4, 'all', [1, 3]),
        (0.6, 'all', [0, 1, 3]),
        (1.0, 'all', [0, 1, 2, 3, 4]),
        (0.2, 'class', [0, 3]),  # class 0: round(.4) is none, but one at least; class 1: round(.6)
        (0.6, 'class', [0, 1, 3]),  # class 0: round(1.2), class 1: round(1.8)
        (1.0, 'class', [0, 1, 2, 3, 4]),
    ],
)
def test_select(table, ratio, ranking, indices):
    selection = LabelTable(table.root).select(NAMES, ratio, ranking)
    assert selection.indices == indices
    for position, index in enumerate(indices):
        fields = selection.fields(position, NAMES[index])
        assert fields.keys() == {'gt_label', 'gt_confidence'}
        assert (type(fields['gt_label']), type(fields['gt_confidence'])) == (int, float)
        assert fields['gt_label'] == ROWS[index].label
        assert fields['gt_confidence'] == pytest.approx(1 / (1 + math.exp(-ROWS[index].log_odds)), rel=1e-12)
    assert LabelTable.select_rows(ROWS, ratio, ranking).indices == indices


def test_all_images_are_ranked_together_by_default(table):
    assert table.select(NAMES, 0.4).indices == [1, 3]


def test_select_takes_names_in_the_order_of_the_data_set(tmp_path):
    """From a million images on, that is not the alphabetical one."""
    names = ['999999_a', '1000000_b', '1000001_c']
    table = LabelTable(tmp_path)
    table.append([LabelRow(name, label, float(label)) for label, name in enumerate(names)])
    table.finish()
    assert [row.name for row in table.rows()] == ['1000000_b', '1000001_c', '999999_a']
    selection = table.select(names, 0.67)
    assert selection.indices == [1, 2]
    assert [selection.fields(position, '')['gt_label'] for position in range(2)] == [1, 2]


def test_confidences_that_all_round_to_one_are_ranked(tmp_path):
    log_odds = [60.0, 90.0, 50.0, 80.0]
    table = LabelTable(tmp_path)
    table.append([LabelRow(f'{index}', 0, value) for index, value in enumerate(log_odds)])
    table.finish()
    selection = table.select(['0', '1', '2', '3'], 0.5)
    assert selection.indices == [1, 3]
    assert selection.fields(0, '1') == {'gt_label': 0, 'gt_confidence': 1.0}


@pytest.mark.parametrize('ratio', [0, -1.0, 1.2])
def test_ratio_out_of_range_is_refused(table, ratio):
    with pytest.raises(ValueError, match='ratio'):
        table.select(NAMES, ratio)


def test_example_is_a_selected_image():
    example = SelectedImages.example()
    assert example.indices == [0]
    assert example.fields(0, 'x') == {'gt_label': 0, 'gt_confidence': 0.5}


def test_discard_keeps_the_table(table):
    table.discard()
    assert table.always_kept
    assert table.complete
    assert table.names() == set(NAMES)
    table.check_names(NAMES)
    assert table.select(NAMES, 0.4).indices == [1, 3]


@pytest.mark.parametrize(
    'line',
    [
        '000001_b,1,0.9,2.5',  # too few cells
        '000001_b,1,0.9,2.5,1,1',
        '000001_b,one,0.9,2.5,1',
        '000001_b,1.0,0.9,2.5,1',
        '000001_b,1,0.9,,1',
        '000001_b,1,0.9,2.5,cat',
        '',
    ],
)
@pytest.mark.parametrize(('file', 'number'), [('labels.csv', 3), ('part-0.csv', 2)])
def test_bad_line_is_named_or_labeled_anew(tmp_path, line, file, number):
    """In a complete table, and in one that is not."""
    table = LabelTable(tmp_path)
    table.append(ROWS)
    if file == 'labels.csv':
        table.finish()
    lines = (tmp_path / file).read_text().splitlines()
    lines[number - 1] = line
    (tmp_path / file).write_text('\n'.join(lines) + '\n')
    if file == 'part-0.csv':
        assert LabelTable(tmp_path).names() == set(NAMES) - {'000001_b'}
        return
    with pytest.raises(ValueError, match=rf'{file}, line {number}: must be name, label, confidence, log_odds'):
        table.rows()


@pytest.mark.parametrize(
    ('names', 'same'),
    [
        (NAMES, True),
        (NAMES[:4], False),
        ([*NAMES, '000005_f'], False),
        ([*NAMES[:4], '000004_z'], False),
    ],
)
def test_check_names(table, names, same):
    if same:
        table.check_names(names)
    else:
        with pytest.raises(ValueError, match=rf'labels of 5 images, but not of the {len(names)} images'):
            table.check_names(names)


def test_names_of_a_store_that_is_not_complete_are_not_checked(tmp_path):
    table = LabelTable(tmp_path)
    table.append(ROWS)
    with pytest.raises(FileNotFoundError, match=r'labels\.json: the pseudo labels are not complete'):
        table.check_names(NAMES)


def test_open_store_knows_the_kind(table, tmp_path):
    maps = LabelMaps(tmp_path / 'maps')
    maps.write('x', np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint16))
    maps.finish(ClassHistogram(2))
    assert type(open_store(str(table.root))) is LabelTable
    assert open_store(table.root).select(NAMES, 0.4, 'all').indices == [1, 3]
    assert type(open_store(maps.root)) is LabelMaps
    assert open_store(maps.root).select(['x'], 1.0, 'class').indices == range(1)
    assert STORES['table'] is LabelTable
    assert STORES['maps'] is LabelMaps


@pytest.mark.parametrize('kind', ['table', 'maps', 'nothing'])
def test_open_store_refuses_what_is_not_complete(table, tmp_path, kind):
    root = {'table': table.root, 'maps': tmp_path / 'maps', 'nothing': tmp_path / 'new'}[kind]
    if kind == 'table':
        (root / 'labels.json').unlink()
    if kind == 'maps':
        LabelMaps(root).write('x', np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint16))
    with pytest.raises(FileNotFoundError, match='run their label phase first'):
        open_store(root)


def test_open_store_refuses_the_parts_of_a_table(tmp_path):
    LabelTable(tmp_path).append(ROWS)
    with pytest.raises(FileNotFoundError, match='not complete'):
        open_store(tmp_path)

import math
import re
import xml.etree.ElementTree as ElementTree

from mmdmt.analysis.charts import COLORS, MOST_CLASSES, Line, bars, change, errors_by_confidence, lines


def texts(svg):
    return [
        ''.join(node.itertext()).strip() for node in ElementTree.fromstring(svg).iter() if node.tag.endswith('text')
    ]


def test_lines():
    svg = lines(
        [Line('model a', [0, 1, 2], [50, 60, 55], COLORS[0])], 'iteration', 'mIoU, %',
        levels=[Line('Oracle', [0], [70], '#8b949e', dashed=True)],
    )  # fmt: skip
    found = texts(svg)
    assert {'iteration', 'mIoU, %', 'model a', 'Oracle', '0', '1', '2'} <= set(found)
    assert COLORS[0] in svg


def test_drawings_take_their_text_color_from_the_page_and_need_no_other_file():
    for svg in (
        lines([Line('a', [0, 1], [0, 1], COLORS[0])], 'x', 'y'),
        bars(['sky', 'road'], {'labeled': [70, 30], 'used': [80, 20]}, '%'),
        change(['sky'], [10], [20], ('first', 'last'), 'IoU'),
        errors_by_confidence(['0-0.5', '0.5-1'], [20, 80], {'01_label_a': [50, math.nan]}, 'pixels'),
    ):
        assert svg.startswith('<svg')
        assert 'currentColor' in svg
        assert 'var(--grid)' in svg
        assert '#0a0b0' not in svg
        assert not re.search(r'(?:href|src|url)\W{0,2}\(?["\']?https?:', svg)
        assert '<image' not in svg


def test_the_same_drawing_is_the_same_text():
    draw = [lines([Line('a', [0, 1], [0, 1], COLORS[0])], 'x', 'y') for _ in range(2)]
    assert draw[0] == draw[1]


def test_bars_and_changes_show_a_part_of_many_classes():
    names = [f'class {index}' for index in range(150)]
    values = list(range(150))
    for svg in (bars(names, {'labeled': values}, '%'), change(names, values, values, ('first', 'last'), 'IoU')):
        assert len([text for text in texts(svg) if text.startswith('class')]) == MOST_CLASSES
        assert len(svg) < 60_000


def test_a_falling_class_has_another_color_than_a_rising_one():
    assert COLORS[2] in change(['sky'], [10], [20], ('first', 'last'), 'IoU')
    assert COLORS[2] not in change(['sky'], [20], [10], ('first', 'last'), 'IoU')

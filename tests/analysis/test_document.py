import re
from html.parser import HTMLParser

import numpy as np

from mmdmt.analysis.document import Chart, Grid, Picture, Section, Table, as_markdown, as_page
from mmdmt.analysis.pictures import class_picture

TABLE = Table(['class', 'IoU'], [['a|b', '5.00'], ['<i>', '-']], 'IoU of each class.')
PICTURE = Picture(class_picture(np.array([[0]]), [(1, 2, 3)]), 'label', 'cat 0.9\nw 0.5', 'wrong')
SECTIONS = [
    Section('One', ['First & last.'], [TABLE, Chart('<svg id="drawn"></svg>', 'A curve.', TABLE)]),
    Section('Two', (), [Grid(['', '1'], [['row', PICTURE]], 'Pictures of it.', [((255, 0, 0), 'car')])]),
]
VOID = {'meta', 'img', 'br'}


class Balance(HTMLParser):
    """Notes elements that are not closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.faults, self.sources = [], [], []

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ('src', 'href')]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


def test_markdown_has_all_facts():
    text = as_markdown('Run x', SECTIONS)
    assert text.startswith('# Run x\n\n## One\n\nFirst & last.\n\nIoU of each class.\n\n| class')
    assert text.count('| a\\|b  | 5.00 |') == 2
    assert 'Pictures of it. The pictures are in report.html.' in text


def test_page_is_whole_and_needs_no_other_file():
    page, parser = as_page('Run <x>', SECTIONS), Balance()
    parser.feed(page)
    assert (parser.open, parser.faults) == ([], [])
    assert all(source.startswith(('data:image/png;base64,', '#part')) for source in parser.sources)
    assert not re.search(r'https?:|@import|url\(|<script|<link', page)
    assert '<h1>Run &lt;x&gt;</h1>' in page
    assert '<td>&lt;i&gt;</td>' in page
    assert '<svg id="drawn"></svg>' in page  # drawings are ours
    assert 'prefers-color-scheme: dark' in page
    assert 'width=device-width' in page
    assert '<small class="wrong">cat 0.9</small>' in page
    assert 'background:#ff0000' in page


def test_figures_are_aligned_to_the_right():
    table = Table(['x', 'a', 'b', 'c', 'd', 'e'], [
        ['1', '-', '0:01:02', '3.0 MiB', '55.10 ± 0.30 (-1.20)', ''], ['x', '+1.5', '', '2 %', '5', ''],
    ])  # fmt: skip
    assert [table.numeric(column) for column in range(6)] == [False, True, True, True, True, False]
    assert not Table(['x'], [['1']], prose=True).numeric(0)
    assert (table.wide, Table(['phase'] * 7, []).wide) == (True, False)
    assert Table(['phase'] * 8, []).wide

import pytest

from mmdmt.labels.archives import Place
from mmdmt.labels.map_index import Entry, SortedFile, Sum, line, parse, read_entries

FILES = Entry(Sum(9, 1), Sum(8, 4294967295))
PLACES = Entry(Sum(9, 1), Sum(8, 2), [Place(3, 512), Place(3, 1536)])
NAMES = ['000000_a', '000001_b.c', '000002_tab\tin it', '000003_tab\t1', '000004_ö:1:2:3', '000005_\x01', '000006_']


@pytest.mark.parametrize('entry', [FILES, PLACES, None])
@pytest.mark.parametrize('name', NAMES)
def test_lines_come_back(name, entry):
    assert parse(line(name, entry).removesuffix('\n')) == (name, entry)


@pytest.mark.parametrize(
    'text',
    ['', 'a', 'a\t1\t2\t3', 'a\t1\t2\t3\tx', 'a\t1\t2\t3\t-4', 'a\t1\t2\t3\t4\t1:2', 'a\t1\t2\t3\t4\t1:2:x',
     'a\t1\t2\t3\t1:2:3', 'a\t1\t2\t3\t4\t1:2:3:4', '../a\t1\t2\t3\t4', '/a\t-', 'a/b\t1\t2\t3\t4\t0:1:2',
     'a\t1\t2\t3\t²'],
)  # fmt: skip
def test_what_is_no_line(text):
    assert parse(text) is None


def test_later_lines_count_and_the_last_must_be_whole(tmp_path):
    first, second = tmp_path / 'first', tmp_path / 'second'
    first.write_text(line('a', FILES) + line('b', FILES) + line('c', None))
    second.write_text(line('b', None) + line('c', PLACES) + line('d', FILES)[:-1])
    assert read_entries([first, second]) == {'a': FILES, 'b': None, 'c': PLACES}
    assert read_entries([]) == {}


@pytest.mark.parametrize('number', range(len(NAMES) + 1))
def test_sorted_file_is_searched(tmp_path, number):
    path, names = tmp_path / 'list', NAMES[:number]
    entries = {name: Entry(Sum(index, 1), Sum(2, 3)) for index, name in enumerate(names)}
    path.write_bytes(b''.join(sorted(line(*row).encode() for row in entries.items())))
    file = SortedFile(path)
    assert {name: file.get(name) for name in names} == entries
    for name in ('', '000', '000000', '000000_a\t0', '000001_b', '000001_b.cc', '9', *NAMES[number:]):
        assert file.get(name) is None


def test_damaged_line_of_a_sorted_file(tmp_path):
    path = tmp_path / 'list'
    path.write_bytes(b'a\t1\t2\t3\t4\nb\t\xff\nc\t1\t2\t3\t4\nd\t1\t2\t3')
    assert [name for name in 'abcd' if SortedFile(path).get(name)] == ['a', 'c']

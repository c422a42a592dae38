import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from mmdmt.datasets import reading
from mmdmt.datasets.reading import CheckedFiles, describe


@pytest.fixture
def infos(tmp_path):
    for number in range(5):
        (tmp_path / f'{number}.png').write_text(str(number))
        (tmp_path / f'{number}_mask.png').write_text('mask')
    return [
        dict(img_path=str(tmp_path / f'{number}.png'), seg_map_path=str(tmp_path / f'{number}_mask.png'))
        for number in range(5)
    ]


@pytest.fixture
def check(tmp_path, infos):
    """``check(way)``: results, and the names of the images that were read; found ones are kept for the next call."""

    def check(way='way', save=True):
        read = []

        def one(info):
            read.append(Path(info['img_path']).stem)
            return [int(read[-1]), [[0, 7]]]

        files = CheckedFiles(tmp_path / 'run/checked.json')
        results = files.check(infos, one, way, 'dmt.labeled')
        if save:
            files.save()
        return results, sorted(read)

    return check


def test_what_was_checked_is_not_read_again(check):
    assert check() == ([[number, [[0, 7]]] for number in range(5)], list('01234'))
    assert check() == ([[number, [[0, 7]]] for number in range(5)], [])
    assert check('other way')[1] == list('01234')


@pytest.mark.parametrize('name', ['3.png', '3_mask.png'])
@pytest.mark.parametrize('change', ['size', 'time'])
def test_what_changed_is_read_again(check, tmp_path, name, change):
    check()
    if change == 'size':
        (tmp_path / name).write_text('longer than before')
    else:
        os.utime(tmp_path / name, (0, 0))
    assert check()[1] == ['3']
    assert check()[1] == []


def test_nothing_is_kept_that_was_not_saved(check, tmp_path):
    check(save=False)
    assert not (tmp_path / 'run').exists()
    assert check()[1] == list('01234')


@pytest.mark.parametrize('content', ['', '{"a": ', '[1]', '\x00'])
def test_damaged_memory(check, tmp_path, content):
    check()
    (tmp_path / 'run/checked.json').write_text(content)
    assert check()[1] == list('01234')
    assert len(json.loads((tmp_path / 'run/checked.json').read_text())) == 5


def test_images_that_are_no_local_files_are_always_checked(tmp_path):
    files, read = CheckedFiles(tmp_path / 'checked.json'), []
    for _ in range(2):
        files.check([dict(img_path='digits://val/0.png')], read.append, 'way', 'key')
    assert len(read) == 2


def test_first_error_in_order(infos):
    def fail(info):
        raise ValueError(Path(info['img_path']).stem)

    with pytest.raises(ValueError, match=r'^0$'):
        CheckedFiles().check(infos, fail, 'way', 'dmt.labeled')


def test_progress_bar_on_a_terminal_only(monkeypatch):
    shown = {}
    for terminal in (True, False):
        output = io.StringIO()
        monkeypatch.setattr(reading, 'Console', lambda stderr, output=output, terminal=terminal: Console(
            file=output, force_terminal=terminal, width=80))  # fmt: skip
        infos = [dict(img_path='no.png')] * reading.BAR_FROM
        assert CheckedFiles().check(infos, lambda info: 1, 'way', 'dmt.labeled') == [1] * reading.BAR_FROM
        shown[terminal] = output.getvalue()
    assert 'Checking 100 images of dmt.labeled' in shown[True]
    assert shown[False] == ''


class Loads:
    def __init__(self, **settings):
        self.__dict__.update(settings)


def test_transforms_are_told_apart_by_their_settings():
    assert describe([Loads(a=1, b=2)]) == describe([Loads(b=2, a=1)])
    assert describe([Loads(a=1)]) != describe([Loads(a=2)])


def test_images_that_have_changed_since(tmp_path, infos):
    """A set that is new, or has moved as a whole, is not told."""

    def changed(found=infos, key='dmt.labeled'):
        files = CheckedFiles(tmp_path / 'run/checked.json')
        files.check(found, lambda info: [], 'way', key)
        files.save()
        return files.changed

    assert changed() == changed() == {}
    os.utime(tmp_path / '3_mask.png', (0, 0))
    os.utime(tmp_path / '1.png', (0, 0))
    assert changed() == {'dmt.labeled': [str(tmp_path / '1.png'), str(tmp_path / '3.png')]}
    assert changed() == {}
    for info in infos:
        os.utime(info['img_path'], (1, 1))
    assert changed() == {}
    (tmp_path / 'run/checked.json').unlink()
    assert changed([*infos, dict(img_path='s3://bucket/1.png')]) == {}


def test_changes_of_several_sets(tmp_path, infos):
    """Parts of a set count together, and sets that share images each tell them."""

    def changed(*sets):
        files = CheckedFiles(tmp_path / 'run/checked.json')
        for key, found in sets:
            files.check(found, lambda info: [], 'way', key)
        files.save()
        return files.changed

    paths = [info['img_path'] for info in infos]
    sets = [('a', infos[:3]), ('a', infos[3:4]), ('a', infos[4:]), ('b', infos[::-1]), ('c', infos[3:4])]
    assert changed(*sets) == {}
    os.utime(paths[1], (0, 0))
    os.utime(paths[3], (0, 0))
    assert changed(*sets) == {'a': [paths[1], paths[3]], 'b': [paths[1], paths[3]]}

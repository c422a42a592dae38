import os
from pathlib import Path

import pytest

from mmdmt.datasets.image_files import (
    ImageFinder,
    broken_link,
    check_plain,
    image_files,
    is_image,
    missing_image,
    read_list,
)


@pytest.fixture
def folder(tmp_path):
    """``folder(*names)``: a folder that holds empty files of these names."""

    def make(*names, root='images'):
        for name in names:
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / root

    return make


@pytest.mark.parametrize(
    ('name', 'expected'),
    [('a.jpg', True), ('a.JPG', True), ('b/a.jpeg', True), ('a.tif', True), ('._a.jpg', False), ('.DS_Store', False),
     ('Thumbs.db', False), ('notes.txt', False), ('jpg', False), ('a.png.txt', False)],
)  # fmt: skip
def test_what_is_an_image(name, expected):
    assert is_image(name) is expected


def test_images_of_a_folder(folder):
    images = folder('b.JPG', 'a.png', 'sub/c.jpeg', '._a.png', '.DS_Store', 'Thumbs.db', '.hidden/d.png')
    folder('e.png', root='elsewhere')
    (images / 'link').symlink_to(images.parent / 'elsewhere')
    (images / 'f.jpg').symlink_to(images.parent / 'elsewhere/e.png')
    (images / 'sub/up').symlink_to(images)  # leads back to where it is
    names = [path.relative_to(images).as_posix() for path in image_files(images)]
    assert names == ['a.png', 'b.JPG', 'f.jpg', 'link/e.png', 'sub/c.jpeg']


@pytest.mark.parametrize(
    'content',
    [b'a\nb c\n', b'a\nb c', b'a\r\nb c\r\n', b'\xef\xbb\xbfa\nb c\n', b'\na  \n\n \t\n\tb c\n\n', b'a\rb c\r',
     'a\r\nb c\r\n'.encode('utf-16')],
    ids=['plain', 'no last line end', 'Windows', 'mark', 'blanks', 'old Mac', 'UTF-16'],
)  # fmt: skip
def test_lists_as_editors_save_them(tmp_path, content):
    path = tmp_path / 'list.txt'
    path.write_bytes(content)
    assert [line for _, line in read_list(str(path))] == ['a', 'b c']


def test_line_numbers(tmp_path):
    (tmp_path / 'list.txt').write_text('\na\n\nb\n')
    assert read_list(str(tmp_path / 'list.txt')) == [(2, 'a'), (4, 'b')]


def test_list_that_is_no_text(tmp_path):
    (tmp_path / 'list.txt').write_bytes(b'\x89PNG\xff\xfe')
    with pytest.raises(ValueError, match=r'^list .*list\.txt is not a text in UTF-8'):
        read_list(str(tmp_path / 'list.txt'))


@pytest.mark.parametrize(
    ('content', 'message'),
    [(b'\xef\xbb\xbfa\n', 'begins with a byte order mark'), ('a\n'.encode('utf-16'), 'begins with a byte order mark'),
     (b'a\n\n', 'line 2 is empty'), (b'a\n \r\nb\n', 'line 2 is empty'), (b'\na\n', 'line 1 is empty')],
)  # fmt: skip
def test_lists_that_stock_datasets_misread(tmp_path, content, message):
    (tmp_path / 'list.txt').write_bytes(content)
    with pytest.raises(ValueError, match=rf'^list .*list\.txt.*{message}'):
        check_plain(str(tmp_path / 'list.txt'))


@pytest.mark.parametrize('content', [b'', b'a\nb\n', b'a\nb', b'a\r\nb\r\n', b'a 1\nb 2\n'])
def test_lists_that_stock_datasets_read(tmp_path, content):
    (tmp_path / 'list.txt').write_bytes(content)
    check_plain(str(tmp_path / 'list.txt'))


def test_images_are_found_by_name(folder):
    images = folder('a.JPG', 'sub/b.png', 'c.d.jpeg', '._a.png')
    finder = ImageFinder([str(images), str(images.parent)])
    for name, expected in {
        'a': 'a.JPG', 'a.JPG': 'a.JPG', 'sub/b': 'sub/b.png', 'c.d': 'c.d.jpeg', 'images/sub/b.png': 'sub/b.png',
        str(images / 'a.JPG'): 'a.JPG', str(images / 'a'): 'a.JPG',
    }.items():  # fmt: skip
        assert os.path.samefile(finder.find(name), images / expected)
    for name in ('b', 'c', '._a', 'a.png', '', 'no/a'):
        assert finder.find(name) is None


def test_two_images_of_one_name(folder):
    images = folder('a.jpg', 'a.png')
    with pytest.raises(ValueError, match=r'several images are called .*images/a: a\.jpg, a\.png; list them with'):
        ImageFinder([str(images)]).find('a')
    assert ImageFinder([str(images)]).find('a.png') == str(images / 'a.png')


@pytest.mark.parametrize(
    ('name', 'hint'),
    [('no.jpg', '$'), ('a.jpg.jpg', r": the list names it with a suffix, to which img_suffix='\.jpg' is added"),
     ('a.JPG.png', ': the list names it with a suffix'), ('a b.jpg', ': a line of the list must hold one name only'),
     ('a.jpg', r', but a\.JPG does: set img_suffix, or use ImageMaskDataset'), ('a.jpg ', ', with a blank at the end')],
)  # fmt: skip
def test_why_an_image_is_missing(folder, name, hint):
    error = missing_image(str(folder('a.JPG') / name), 'dmt.labeled')
    assert isinstance(error, FileNotFoundError)
    with pytest.raises(FileNotFoundError, match=rf'^dmt\.labeled: image .*{name} does not exist.*{hint}'):
        raise error


def test_broken_link_is_named(folder):
    images = folder('a.JPG')
    (images / 'b.jpg').symlink_to('../gone/b.jpg')
    (images / 'sub').symlink_to('/nowhere/sub')
    for name, link in [('b.jpg', 'b.jpg is a link to ../gone/b.jpg'), ('sub/a.jpg', 'sub is a link to /nowhere/sub')]:
        expected = f'key: image {images / name} does not exist: {images}/{link}, which does not exist'
        assert str(missing_image(str(images / name), 'key')) == expected
    (images / 'c.jpg').symlink_to('a.JPG')
    assert broken_link(images / 'c.jpg') == broken_link('no/such') == broken_link('x' * 300) == ''
    (images / 'd.jpg').symlink_to('b.jpg')
    (images / 'e.jpg').symlink_to('e.jpg')
    assert broken_link(images / 'd.jpg') == f': {images}/b.jpg is a link to ../gone/b.jpg, which does not exist'
    assert broken_link(images / 'e.jpg') == f': {images}/e.jpg is a link to e.jpg, which does not exist'


def test_folder_that_is_missing():
    assert str(missing_image(str(Path('no/such/a.jpg')), 'key')) == 'key: image no/such/a.jpg does not exist'

from pathlib import Path
from types import SimpleNamespace

import pytest

from mmdmt.datasets.left_out import hidden, left_out


@pytest.fixture
def make(tmp_path):
    """A dataset of the images of a folder with one suffix, which may also hold other files."""

    def make(*names, suffix='.jpg', ann_file='', prefix=None):
        folder = tmp_path / 'images'
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        read = [str(path) for path in sorted(folder.rglob(f'*{suffix}')) if path.is_file()]
        return SimpleNamespace(
            data_prefix=dict(img_path=str(folder)) if prefix is None else prefix,
            ann_file=ann_file,
            get_data_info=lambda index: dict(img_path=read[index]),
            number=len(read),
        )

    class Sized:
        def __init__(self, found):
            vars(self).update(vars(found))

        def __len__(self):
            return self.number

    return lambda *args, **kwargs: Sized(make(*args, **kwargs))


def test_images_of_other_suffixes(make, tmp_path):
    (found,) = left_out(make('1.jpg', '2.JPG', 'a/3.webp', 'a/4.webp', '5.HEIC', 'notes.txt', '.6.webp', '.b/7.webp'))
    assert found.startswith(f'{tmp_path / "images"} holds 4 images that are not read (2 with the suffix .webp, ')
    assert '1 with the suffix .JPG, 1 with the suffix .HEIC, a format that must be converted)' in found
    assert found.endswith(', ...')


def test_broken_link(make, tmp_path):
    dataset = make('1.jpg')
    (tmp_path / 'images/2.jpg').symlink_to('nowhere')
    assert left_out(dataset) == [
        f'{tmp_path / "images"} holds 1 images that are not read (1 broken links): {tmp_path / "images/2.jpg"}'
    ]


def test_nothing_is_left_out(make):
    assert left_out(make('1.jpg', 'a/2.jpg', 'notes.txt')) == []


@pytest.mark.parametrize('options', [dict(ann_file='some.txt'), dict(prefix={}), dict(prefix=dict(img_path='nowhere'))])
def test_only_folders_that_are_read_whole(make, options):
    assert left_out(make('1.jpg', '2.webp', **options)) == []


def test_parts_of_a_concatenation_may_share_a_folder(make):
    make('1.jpg', '2.webp', '3.gif')
    parts = SimpleNamespace(datasets=[make(suffix='.jpg'), make(suffix='.webp')])
    lines = left_out(parts)
    assert len(lines) == 2 and all(
        'holds 1 images that are not read (1 with the suffix .gif)' in line for line in lines
    )
    parts.datasets.append(make(suffix='.gif'))
    assert left_out(parts) == []


def test_hidden_images_that_are_read(make, tmp_path):
    folder = tmp_path / 'images'
    assert hidden(make('1.jpg', 'a.b/2.jpg')) is None
    dataset = make('.ipynb_checkpoints/1-checkpoint.jpg', 'cat/.trash/3.jpg', '._1.jpg', '.x/4.jpg')
    text = hidden(dataset)
    assert text.startswith(
        f'4 of its images are in hidden folders or are hidden files, often copies of others: {folder}/'
    )
    assert '..., ' not in text
    assert text.endswith(', ...; delete them, or list the images')
    assert hidden(make(ann_file='some.txt')) is None


def test_hidden_folder_above_the_data_is_the_users_place(make):
    dataset = make('1.jpg', prefix=dict(img_path=''))
    dataset.data_root = '.cache/data'
    dataset.get_data_info = lambda index: dict(img_path='.cache/data/cat/1.jpg')
    assert hidden(dataset) is None


def test_images_above_the_folder_are_not_hidden(make):
    dataset = make('1.jpg', prefix=dict(img_path='data/images'))
    dataset.get_data_info = lambda index: dict(img_path='data/more/1.jpg')
    assert hidden(dataset) is None


def test_what_is_hidden_is_told_below_the_folder_only(make):
    dataset = make('1.jpg', prefix=dict(img_path='/d/.mine'))
    dataset.data_root = '/d'
    for path, expected in [('/d/.mine/1.jpg', False), ('/d/.mine/.a/1.jpg', True), ('/home/.cache/1.jpg', False)]:
        dataset.get_data_info = lambda index, path=path: dict(img_path=Path(path))
        assert (hidden(dataset) is not None) == expected
    dataset.get_data_info = lambda index: dict(img_path=f'/d/.mine/.a/{index}.jpg')
    dataset.number = 3
    assert hidden(dataset).endswith('/2.jpg; delete them, or list the images')
    dataset.get_data_info = lambda index: dict(img_path='/d/.mine/.a/1.jpg')
    assert hidden(dataset).startswith('1 of its images')
    dataset.data_prefix = dataset.data_root = None
    assert hidden(dataset) is None

import os
from pathlib import Path

import pytest

from mmdmt.core.splits import nested_split
from mmdmt.seg.voc_lists import DMT, voc_family

DATA = Path(os.environ.get('MMDMT_SHARED_DATA') or Path(__file__).resolve().parents[3] / 'shared' / 'data')
SPLITS = DATA / 'splits'
needs_lists = pytest.mark.skipif(not SPLITS.is_dir(), reason='the published lists are not here (MMDMT_SHARED_DATA)')
NAMES = [f'2007_{number:06}' for number in range(10582)]
TRAIN = NAMES[::7][:1464]


@pytest.fixture
def family(tmp_path):
    """``family(labeled, all names)``: name and text, for a VOC folder with or without ``train.txt``."""

    def find(labeled, names=NAMES, train=TRAIN):
        if train is not None:
            path = tmp_path / 'VOC2012/ImageSets/Segmentation/train.txt'
            path.parent.mkdir(parents=True)
            path.write_text('\n'.join(train) + '\n')
        paths = {name: f'{tmp_path}/VOC2012/JPEGImages/{name}.jpg' for name in names}
        chosen = set(labeled)
        return voc_family([paths[name] for name in labeled], [paths[name] for name in names if name not in chosen])

    return find


@pytest.mark.parametrize('number', [92, 183, 366, 732])
def test_original(family, number):
    name, text = family(TRAIN[:number])
    assert name == 'original'
    assert text == (
        f'{number} of the 10,582 training images of VOC, {number} of them in its train.txt: family "original"'
    )


def test_all_of_train(family):
    name, text = family(TRAIN)
    assert name == 'original' and text.endswith('family "original"; Table 5 of the DMT paper has the same')


def test_without_the_list_of_voc(family):
    assert family(NAMES[:92], train=None) == (
        'original', '92 of the 10,582 training images of VOC: family "original", by their number'
    )  # fmt: skip


@pytest.mark.parametrize(('number', 'ratio'), DMT.items())
def test_dmt(family, number, ratio):
    labeled, _ = nested_split(NAMES, ratio, 1)
    assert len(labeled) == number
    name, text = family(labeled)
    assert name == 'DMT' and text.endswith('family "DMT", published list 1')


def test_as_many_as_dmt_but_others(family):
    name, text = family(NAMES[:530])
    assert name == '' and text.endswith('of no published family, though the lists of DMT have 530, too')


@pytest.mark.parametrize('number', [662, 1323, 2646, 5291])
def test_blended(family, number):
    name, text = family(NAMES[:number])
    assert name == 'blended' and 'CPS' in text


def test_92_images_that_are_not_of_train(family):
    name, text = family(NAMES[:92])
    assert (name, text.split(': ')[1]) == ('', 'of no published family')
    assert '14 of them in its train.txt' in text  # each seventh of 92


def test_a_part_of_voc_and_other_images(family):
    assert family(NAMES[:2], NAMES[:5]) == ('', '2 of 5 images of VOC: published lists have 10,582')
    assert voc_family(['images/leaf.jpg'], ['images/2007_000001.jpg']) is None
    assert voc_family([], []) is None


def published(path):
    return [line.split()[0] for line in path.read_text().splitlines() if line.strip()]


@needs_lists
@pytest.mark.parametrize(
    ('folder', 'expected'),
    [('unimatch/pascal/92', 'original'), ('unimatch/pascal/732', 'original'), ('unimatch/pascal/1464', 'original'),
     ('unimatch/pascal/1_8', 'blended'), ('unimatch/pascal/u2pl_1_16', 'blended')],
)  # fmt: skip
def test_published_lists(family, folder, expected):
    labeled, unlabeled = ([Path(line).stem for line in published(SPLITS / folder / f'{part}.txt')]
                          for part in ('labeled', 'unlabeled'))  # fmt: skip
    train = published(SPLITS / 'voc2012/train.txt')
    assert family(labeled, labeled + unlabeled, train)[0] == expected

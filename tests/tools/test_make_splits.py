import hashlib
import os
from pathlib import Path

import pytest

from tools import make_splits

DATA = Path(os.environ.get('MMDMT_SHARED_DATA') or Path(__file__).resolve().parents[3] / 'shared' / 'data')
NAMES = {'voc': 'voc2012/trainaug.txt', 'cityscapes': 'cityscapes/train.txt'}
needs_lists = pytest.mark.skipif(not (DATA / 'splits').is_dir(), reason='the lists are not here (MMDMT_SHARED_DATA)')


@pytest.fixture
def names():
    """``names(kind)``: the images that the published lists were made of."""
    return lambda kind: (DATA / 'splits' / NAMES[kind]).read_text().split()


@pytest.fixture
def voc(tmp_path):
    """``voc(names, val)``: a VOC folder with a list, or where ``val`` is given with masks of both."""

    def make(names, val=None):
        lists = tmp_path / 'voc/ImageSets/Segmentation'
        lists.mkdir(parents=True)
        if val is None:
            (lists / 'trainaug.txt').write_text('\n'.join(names))
        else:
            (lists / 'val.txt').write_text('\n'.join(val))
            (tmp_path / 'voc/SegmentationClassAug').mkdir()
            for name in (*names, *val):
                (tmp_path / f'voc/SegmentationClassAug/{name}.png').touch()
        return tmp_path / 'voc'

    return make


@pytest.fixture
def cityscapes(tmp_path):
    def make(names, val=()):
        for subset, images in (('train', names), ('val', val)):
            for name in images:
                path = tmp_path / f'city/leftImg8bit/{subset}/{name}_leftImg8bit.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        return tmp_path / 'city'

    return make


@pytest.fixture
def images(tmp_path):
    """8 images in two folders, 5 of which have a mask."""
    for index in range(8):
        for folder in ('images', 'masks')[: 2 if index < 5 else 1]:
            path = tmp_path / folder / 'ab'[index % 2] / f'{index}.{"jpg" if folder == "images" else "png"}'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (tmp_path / 'images/notes.txt').touch()
    return tmp_path


def written(folder):
    return {path.name: path.read_text().splitlines() for path in folder.iterdir()}


def run(*arguments):
    make_splits.main(list(map(str, arguments)))


def assert_published(folder, dataset, pattern='*.txt'):
    published = {path.name: path.read_bytes() for path in (DATA / 'splits/dmt' / dataset).glob(pattern)}
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == published


@needs_lists
def test_voc_lists_are_the_published_ones(voc, names):
    run('voc', folder := voc(names('voc')))
    assert_published(folder / 'splits', 'voc2012', '*_*.txt')  # there is no val.txt for valtiny


@needs_lists
def test_voc_lists_from_the_masks(voc, names, tmp_path):
    val = (DATA / 'splits/voc2012/val.txt').read_text().split()
    run('voc', voc(names('voc'), val), '--out', tmp_path / 'lists')
    assert_published(tmp_path / 'lists', 'voc2012')


@needs_lists
def test_cityscapes_lists_are_the_published_ones(cityscapes, names):
    val = (DATA / 'splits/cityscapes/val.txt').read_text().split()
    run('cityscapes', folder := cityscapes(names('cityscapes'), val))
    assert_published(folder / 'splits', 'cityscapes')


def test_sums_are_those_of_all_lists():
    lines = [line.split() for line in make_splits.SUMS.read_text().splitlines()]
    expected = {
        f'{kind}/{file}_{part}_{split_id}.txt'
        for kind, ratios in make_splits.RATIOS.items()
        for file in ratios
        for part in ('labeled', 'unlabeled')[: 1 if file == '1' else 2]
        for split_id in range(3)
    } | {'voc/valtiny.txt', 'cityscapes/valtiny.txt'}
    assert {name for _, name in lines} == expected
    assert all(len(bytes.fromhex(digest)) == hashlib.sha256().digest_size for digest, _ in lines)


@pytest.mark.parametrize(('kind', 'total'), [('voc', 10582), ('cityscapes', 2975)])
def test_other_number_of_images(voc, cityscapes, kind, total):
    folder = voc(['x', 'y']) if kind == 'voc' else cityscapes(['a/x', 'b/y'])
    with pytest.raises(ValueError, match=f'found 2 training images, but the published lists have {total}'):
        run(kind, folder)
    assert not (folder / 'splits').exists()


@pytest.mark.parametrize('kind', ['voc', 'cityscapes'])
def test_other_names(kind):
    names = [f'{index:05d}' for index in range(make_splits.TOTAL[kind])]
    with pytest.raises(ValueError, match=r"lists differ from the published ones .* e\.g\. '00000'"):
        make_splits.published(kind, names, ())


@needs_lists
def test_other_number_of_validation_images(names):
    with pytest.raises(ValueError, match='voc: found 2 validation images, but the published lists have 1449'):
        make_splits.published('voc', names('voc'), ['x', 'y'])


@pytest.mark.parametrize(
    ('kind', 'text'), [('voc', 'trainaug.txt, or SegmentationClassAug'), ('cityscapes', 'leftImg8bit')]
)
def test_missing_data(tmp_path, kind, text):
    with pytest.raises(FileNotFoundError, match=text):
        run(kind, tmp_path)


def test_images_with_masks_are_labeled(images):
    run('files', images / 'images', '--masks', images / 'masks', '--val', 2, '--out', images / 'lists')
    lists = written(images / 'lists')
    assert {name: len(lines) for name, lines in lists.items()} == {'labeled.txt': 3, 'val.txt': 2, 'unlabeled.txt': 3}
    assert sorted(lists['labeled.txt'] + lists['val.txt']) == ['a/0', 'a/2', 'a/4', 'b/1', 'b/3']
    assert lists['unlabeled.txt'] == ['a/6', 'b/5', 'b/7']


def test_two_parts_of_the_labeled_images(images):
    arguments = ('--masks', images / 'masks', '--val', 1, '--difference-maximised')
    run('files', images / 'images', *arguments, 0.75)
    lists = written(images / 'images/splits')
    first, second = (set(lists[f'labeled_{model}.txt']) for model in 'ab')
    assert len(first) == len(second) == 3
    assert first | second == set(lists['labeled.txt'])
    assert len(first & second) == 2  # 4 images: as few as can be
    with pytest.raises(ValueError, match=r'alpha must be in \(0, 1\]; got 1.5'):
        run('files', images / 'images', *arguments, 1.5)


def test_ratio_of_own_images(images):
    run('files', images / 'images', '--ratio', 4)
    lists = written(images / 'images/splits')
    assert {name: len(lines) for name, lines in lists.items()} == {'labeled.txt': 2, 'unlabeled.txt': 6}
    assert not set(lists['labeled.txt']) & set(lists['unlabeled.txt'])
    run('files', images / 'images', '--ratio', 4, '--split-id', 1, '--out', images / 'other')
    assert written(images / 'other')['labeled.txt'] != lists['labeled.txt']


@pytest.mark.parametrize(
    ('make', 'arguments', 'message'),
    [
        ('masks/a/strange.png', ('--masks', 'masks'), "1 masks have no image in .*, e.g. 'a/strange'"),
        ('images/a/0.png', ('--ratio', '2'), "two images called 'a/0'"),
        (None, ('--masks', 'masks', '--val', '5'), '--val 5 leaves none of the 5 labeled images'),
        (None, ('--ratio', '9'), 'ratio must be at most the number of names'),
        (None, ('--masks', 'empty'), 'holds no image'),
    ],
)
def test_bad_folder(images, monkeypatch, make, arguments, message):
    monkeypatch.chdir(images)
    Path('empty').mkdir()
    if make:
        Path(make).touch()
    with pytest.raises(ValueError, match=message):
        run('files', 'images', *arguments)
    assert not Path('images/splits').exists()


def test_two_parts_of_a_published_list(capsys):
    with pytest.raises(SystemExit):
        run('voc', 'x', '--difference-maximised', 0.8)
    assert '--difference-maximised needs `files`' in capsys.readouterr().err


@pytest.mark.parametrize(
    'arguments', [('files', 'x'), ('files', 'x', '--masks', 'y', '--ratio', '2'), ('voc', 'x', '--ratio', '2')]
)
def test_contradicting_arguments(arguments, capsys):
    with pytest.raises(SystemExit):
        run(*arguments)
    assert 'needs one of --masks and --ratio' in capsys.readouterr().err

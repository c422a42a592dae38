import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmdmt.errors import UserError
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
    """8 images in two folders, 5 of which have a mask (an empty file)."""
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
        ('masks/a/strange.png', ('--masks', 'masks'), "1 masks have no image in .*, e.g. 'a/strange'; .*mask-suffix"),
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
    with pytest.raises(UserError, match=message):
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


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--ratio', 2, '--val', -1), '--val must be a number of images, not -1'),
        (('--ratio', 2, '--difference-maximised', 1.5), '--difference-maximised must be a share above 0, at most 1'),
        (('--ratio', 2, '--difference-maximised', 0), '--difference-maximised must be a share above 0, at most 1'),
        (('--masks', 'images/../images'), '--masks is the folder of the images: --mask-suffix must tell'),
    ],
)
def test_arguments_out_of_range(images, monkeypatch, arguments, message, capsys):
    monkeypatch.chdir(images)
    with pytest.raises(SystemExit) as ended:
        run('files', 'images', *arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not Path('images/splits').exists()


@pytest.fixture
def plants(tmp_path, write_image):
    """40 images: 30 with a mask, of which every third shows class 1 and every tenth class 2."""
    suffixes = ('.jpg', '.JPG', '.jpeg', '.png')
    for index in range(40):
        path = tmp_path / f'images/field{index % 2}/{index:02d}{suffixes[index % 4]}'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        if index < 30:
            mask = np.zeros((4, 6), np.uint8)
            mask[0, :3] = 255 if index % 2 else 0
            mask[1, 0], mask[2, 0] = index % 3 == 0, 2 * (index % 10 == 0)
            write_image(tmp_path / f'masks/field{index % 2}/{index:02d}.png', mask)
    return tmp_path


def test_validation_images_are_drawn_by_class(plants, capsys):
    run('files', plants / 'images', '--masks', plants / 'masks', '--val', 10, '--out', plants / 'lists')
    lists = written(plants / 'lists')
    numbers = {name: [int(line[-2:]) for line in lines] for name, lines in lists.items()}
    assert {name: len(lines) for name, lines in lists.items()} == {
        'labeled.txt': 20,
        'unlabeled.txt': 10,
        'val.txt': 10,
    }
    assert sum(number % 10 == 0 for number in numbers['val.txt']) == 1
    assert sum(number % 3 == 0 for number in numbers['val.txt']) in (3, 4)
    printed = capsys.readouterr().out
    assert f'{plants}/images: 40 images (10 .JPG, 10 .jpeg, 10 .jpg, 10 .png)' in printed
    assert f'{plants}/masks: 30 masks (30 .png)' in printed
    assert 'masks that show each value: 0: 30, 1: 10, 2: 3, 255: 15' in printed
    assert 'warning' not in printed
    run(
        'files', plants / 'images', '--masks', plants / 'masks', '--val', 10, '--split-id', 1, '--out', plants / 'other'
    )
    assert written(plants / 'other')['val.txt'] != lists['val.txt']


def test_hidden_files_are_skipped_and_links_followed(plants, capsys):
    for name in ('images/.DS_Store', 'images/field0/._00.jpg', 'images/field1/Thumbs.db', 'masks/field0/._00.png',
                 'images/.ipynb_checkpoints/00-checkpoint.jpg', 'elsewhere/x.jpg'):  # fmt: skip
        (plants / name).parent.mkdir(exist_ok=True)
        (plants / name).write_bytes(b'no image')
    (plants / 'images/more').symlink_to(plants / 'elsewhere')
    run('files', plants / 'images', '--masks', plants / 'masks', '--out', plants / 'lists')
    lists = written(plants / 'lists')
    assert len(lists['unlabeled.txt']) == 11
    assert 'more/x' in lists['unlabeled.txt']
    assert not [line for lines in lists.values() for line in lines if '.' in line]
    assert '; skipped 3 other files (.DS_Store, ._00.jpg, Thumbs.db)' in capsys.readouterr().out


@pytest.mark.parametrize('folder', ['masks', 'images'])
def test_masks_with_another_name(plants, capsys, folder):
    """In a folder of their own, or beside the images."""
    for path in list((plants / 'masks').rglob('*.png')):
        target = plants / folder / path.relative_to(plants / 'masks').with_name(f'{path.stem}_mask.png')
        path.rename(target)
    arguments = ('files', plants / 'images', '--masks', plants / folder, '--out', plants / 'lists')
    run(*arguments, '--mask-suffix', '_mask.png')
    assert {name: len(lines) for name, lines in written(plants / 'lists').items()} == {
        'labeled.txt': 30, 'unlabeled.txt': 10}  # fmt: skip
    assert 'set seg_map_suffix in the config: the masks end with _mask.png' in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"holds no image whose name ends with '_label\.png'"):
        run(*arguments, '--mask-suffix', '_label.png')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda mask: np.where(mask == 1, 255, 0), 'warning: all values are 0 or 255, which means ignored: store 1'),
        (
            lambda mask: np.where(mask == 255, 0, mask) + 1,
            'warning: no mask holds 0: if they count from 1, set reduce_',
        ),
        (lambda mask: np.dstack([mask] * 3), 'warning: 30 masks cannot be read or have several channels, such as '),
    ],
)
def test_masks_that_look_wrong(plants, write_image, capsys, change, message):
    for path in (plants / 'masks').rglob('*.png'):
        write_image(path, change(np.array(Image.open(path))).astype(np.uint8))
    run('files', plants / 'images', '--masks', plants / 'masks', '--val', 4, '--out', plants / 'lists')
    assert message in capsys.readouterr().out
    assert len(written(plants / 'lists')['val.txt']) == 4


@needs_lists
def test_voc_as_the_converter_of_mmsegmentation_leaves_it(voc, names):
    """Masks of SBD only, beside those of VOC; the list of the training images is written."""
    val = (DATA / 'splits/voc2012/val.txt').read_text().split()
    folder = voc(names('voc'), val)
    moved = [
        path for number, path in enumerate(sorted((folder / 'SegmentationClassAug').iterdir())) if number % 20 == 0
    ]
    (folder / 'SegmentationClass').mkdir()
    for path in moved:
        path.rename(folder / 'SegmentationClass' / path.name)
    run('voc', folder, '--out', folder / 'lists')
    assert_published(folder / 'lists', 'voc2012')
    assert (folder / 'ImageSets/Segmentation/trainaug.txt').read_text().split() == sorted(names('voc'))

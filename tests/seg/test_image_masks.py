import os
from pathlib import Path

import numpy as np
import pytest
from mmseg.datasets import PascalVOCDataset
from mmseg.registry import DATASETS

from mmdmt.datasets.image_files import read_list
from mmdmt.seg import ImageMaskList
from mmdmt.seg.image_masks import ImageMaskDataset, VOCImageMaskList

DATA = Path(os.environ.get('MMDMT_SHARED_DATA') or Path(__file__).resolve().parents[3] / 'shared' / 'data')
LISTS = DATA / 'splits/unimatch/pascal'
needs_lists = pytest.mark.skipif(not LISTS.is_dir(), reason='the published lists are not here (MMDMT_SHARED_DATA)')

NAMES = ('a.jpg', 'b.JPG', 'sub/c.png', 'd.jpeg')


@pytest.fixture
def root(tmp_path, write_image):
    for name in NAMES:
        path = tmp_path / 'images' / name
        write_image(path.with_suffix('.png'), np.zeros((4, 6, 3), np.uint8))
        path.with_suffix('.png').rename(path)
        write_image(tmp_path / 'masks' / Path(name).with_suffix('.png'), np.zeros((4, 6), np.uint8))
    return tmp_path


@pytest.fixture
def make(root):
    """``make(list)``: pairs of image and mask, relative to the root."""

    def make(content=None, **kwargs):
        if content is not None:
            (root / 'list.txt').write_bytes(content if isinstance(content, bytes) else content.encode())
            kwargs['ann_file'] = 'list.txt'
        dataset = ImageMaskDataset(
            data_root=str(root), data_prefix=dict(img_path='images', seg_map_path='masks'), serialize_data=False,
            metainfo=dict(classes=('x', 'y')), **kwargs)  # fmt: skip
        infos = [dataset.get_data_info(idx) for idx in range(len(dataset))]
        return [tuple(str(Path(info[key]).relative_to(root)) for key in ('img_path', 'seg_map_path')) for info in infos]

    return make


ALL = [('images/b.JPG', 'masks/b.png'), ('images/sub/c.png', 'masks/sub/c.png'), ('images/a.jpg', 'masks/a.png')]


@pytest.mark.parametrize(
    'content',
    ['b\nsub/c\na\n', 'b.JPG\nsub/c.png\na.jpg', b'\xef\xbb\xbfb\r\n\r\nsub/c.png\r\na \r\n\r\n',
     'b.JPG b.png\nsub/c sub/c.png\na.jpg\ta.png\n', 'images/b.JPG masks/b.png\nimages/sub/c.png\nimages/a.jpg\n'],
    ids=['names', 'suffixes', 'blank lines', 'pairs', 'from the root'],
)  # fmt: skip
def test_lists_of_every_kind(make, content):
    assert make(content) == ALL


def test_absolute_names(make, root):
    lines = [f'{root}/images/b.JPG', f'{root}/images/sub/c', f'{root}/images/a.jpg {root}/masks/a.png']
    assert make('\n'.join(lines)) == ALL


def test_image_with_another_mask(make, root):
    assert make('a b.png\n') == [('images/a.jpg', 'masks/b.png')]
    assert make('a no.png\n') == [('images/a.jpg', 'masks/no.png')]  # the checks say that it does not exist


def test_name_with_a_blank(make, root):
    (root / 'images/my photo.jpg').touch()
    assert make('my photo\na\n') == [('images/my photo.jpg', 'masks/my photo.png'), ('images/a.jpg', 'masks/a.png')]


def test_masks_of_another_suffix(make):
    assert make('a\nb\n', seg_map_suffix='_mask.png') == [
        ('images/a.jpg', 'masks/a_mask.png'), ('images/b.JPG', 'masks/b_mask.png')]  # fmt: skip


def test_one_suffix(make, root):
    """As with mmsegmentation's own data set; an image and its mask may then be in one folder."""
    (root / 'images/a.png').touch()
    assert make('a\na.jpg\n', img_suffix='.jpg') == [('images/a.jpg', 'masks/a.png')] * 2
    with pytest.raises(ValueError, match=r'several images are called .*images/a: a\.jpg, a\.png'):
        make('a\n')


def test_all_images_of_a_folder(make, root):
    (root / 'images/._a.jpg').touch()
    (root / 'images/Thumbs.db').touch()
    everything = [(f'images/{name}', f'masks/{Path(name).with_suffix(".png")}') for name in sorted(NAMES)]
    assert make() == everything
    assert make(img_suffix='.jpg') == everything[:1]


@pytest.mark.parametrize('line', ['no', 'no.jpg', 'a b c', 'c', 'no.jpg a.png'])
def test_missing_image_is_named_with_its_line(make, root, line):
    with pytest.raises(FileNotFoundError, match=rf'list\.txt, line 3: image {root}/images/{line} \(.* does not exist'):
        make(f'a\n\n{line}\n')


def test_broken_link_to_an_image_is_named(make, root):
    (root / 'images/gone.jpg').symlink_to('/store/gone.jpg')
    link = f'does not exist: {root}/images/gone.jpg is a link to /store/gone.jpg, which does not exist'
    with pytest.raises(FileNotFoundError, match=rf'list\.txt, line 1: image {root}/images/gone\.jpg .*{link}$'):
        make('gone.jpg\n')


def test_image_outside_of_the_folder_has_its_mask_beside_it(root, make):
    (root / 'other').mkdir()
    (root / 'other/e.jpg').touch()
    assert make('other/e.jpg\n') == [('other/e.jpg', 'other/e.png')]


def test_masks_of_mixed_suffixes(make, root):
    """A mask is found by its name, as an image is; a list may name it without suffix, too."""
    (root / 'masks/a.png').rename(root / 'masks/a.tif')
    (root / 'masks/b.png').rename(root / 'masks/b.BMP')
    expected = [('images/a.jpg', 'masks/a.tif'), ('images/b.JPG', 'masks/b.BMP'), ('images/d.jpeg', 'masks/d.png')]
    assert make('a\nb.JPG\nd\n') == expected
    assert make('a a\nb.JPG masks/b\nd d.png\n') == expected
    assert [mask for _, mask in make()][:2] == ['masks/a.tif', 'masks/b.BMP']
    assert make('a\n', seg_map_suffix='.png') == [('images/a.jpg', 'masks/a.png')]  # the checks say that it is missing
    (root / 'masks/a.bmp').touch()
    with pytest.raises(ValueError, match=r'several masks are called .*masks/a: a\.bmp, a\.tif; .* seg_map_suffix'):
        make('a\n')


def test_an_image_is_not_its_own_mask(root):
    def read():
        folder = dict(img_path='images', seg_map_path='images')
        info = ImageMaskDataset(data_root=str(root), data_prefix=folder, serialize_data=False).get_data_info(0)
        return [Path(info[key]).name for key in ('img_path', 'seg_map_path')]

    assert read() == ['a.jpg', 'a.png']  # which does not exist
    (root / 'images/sub').rename(root / 'other')
    (root / 'images/a.png').touch()
    assert read() == ['a.jpg', 'a.png']


def test_another_folder_of_masks(make, root):
    (root / 'masks/deep').mkdir()
    (root / 'masks/deep/a.png').touch()
    found = make('images/a.jpg SegmentationClass/deep/a.png\n', mask_folder='masks')
    assert found == [('images/a.jpg', 'masks/deep/a.png')]


def test_published_form_of_a_list(root):
    """Paths from the root of the data; no folder is set."""
    (root / 'list.txt').write_text('images/a.jpg masks/b.png\n')
    dataset = ImageMaskDataset(data_root=str(root), ann_file='list.txt', serialize_data=False)
    info = dataset.get_data_info(0)
    assert (info['img_path'], info['seg_map_path']) == (f'{root}/images/a.jpg', f'{root}/masks/b.png')
    assert info['seg_fields'] == []


def test_other_names():
    assert ImageMaskList is ImageMaskDataset is DATASETS.get('ImageMaskList') is DATASETS.get('ImageMaskDataset')
    assert VOCImageMaskList.METAINFO['classes'] == PascalVOCDataset.METAINFO['classes']


@needs_lists
@pytest.mark.parametrize(('number', 'lines'), [('92', 92), ('183', 183), ('366', 366), ('732', 732), ('1464', 1464)])
def test_published_lists_of_the_original_family(number, lines):
    """Labeled images are all of VOC's own training set; with the unlabeled ones, they are the 10,582."""
    read = [read_list(str(LISTS / number / f'{part}.txt')) for part in ('labeled', 'unlabeled')]
    names = [{Path(line.split()[0]).stem for _, line in part} for part in read]
    assert [len(part) for part in read] == [len(part) for part in names] == [lines, 10582 - lines]
    train = set((DATA / 'splits/voc2012/train.txt').read_text().split())
    assert names[0] <= train
    assert not names[0] & names[1]

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine.dataset import BaseDataset
from PIL import Image

from mmdmt.datasets.image_checks import (
    check_disjoint,
    check_exist,
    check_images,
    check_once,
    load_unlabeled,
    orientation_turned_by,
)

# OpenCV reads GIF since 4.12.
GIF = ['.gif'] if cv2.haveImageWriter('x.gif') else []
LOAD, PACK = dict(type='LoadImageFromFile'), dict(type='PackDMTInputs')


class Images(BaseDataset):
    """A dataset of given data infos."""

    def __init__(self, *infos):
        self.infos = infos
        super().__init__(serialize_data=False)

    def load_data_list(self):
        return [dict(info) for info in self.infos]


@pytest.fixture
def image(write_png):
    """Path of an image of height 2 and width 3."""
    return write_png('images/p.png', np.full((2, 3, 3), 7))


def test_shared_images_are_named():
    check_disjoint(['a/x.png', 'a/y.png'], ['b/x.png', 'b/y.png'])
    check_disjoint([], [])
    with pytest.raises(ValueError, match=r'share 1 of their images: x$'):
        check_disjoint(['x', 'y', 'x'], ['z', 'x'])
    names = [f'{number}.png' for number in range(5)]
    with pytest.raises(ValueError, match=r'^dmt\.labeled and dmt\.unlabeled share 5 .*: 0\.png, 1\.png, 2\.png$'):
        check_disjoint(names, names[::-1])


def test_all_images_on_disk_are_looked_at(image, tmp_path):
    on_disk, in_memory = dict(img_path=image), dict(img_path='digits/0000_0', img=np.zeros((8, 8, 3)))
    missing = [dict(img_path=str(tmp_path / f'{number}.png')) for number in range(9)]
    check_exist(Images(on_disk, in_memory), 'dmt.unlabeled')
    with pytest.raises(FileNotFoundError, match=r'^dmt\.unlabeled: image .*/0\.png does not exist'):
        check_exist(Images(on_disk, *missing), 'dmt.unlabeled')
    check_images(Images(on_disk, in_memory), [LOAD, PACK], 'dmt.unlabeled')
    Path(image).with_name('broken.png').write_bytes(b'no image')
    broken = dict(img_path=str(Path(image).with_name('broken.png')))
    with pytest.raises(ValueError, match=r'^dmt\.unlabeled: .*broken\.png cannot be read as an image \('):
        check_images(Images(*[on_disk] * 30, broken), [LOAD, PACK], 'dmt.unlabeled')


@pytest.mark.parametrize('share', [0.5, 0.9, 0.99])
def test_photos_that_are_cut_off(tmp_path, share):
    """OpenCV loads them without a word, with gray where the file ends."""
    path, pixels = tmp_path / 'x.jpg', np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    cv2.imwrite(str(path), pixels)
    check_images(Images(dict(img_path=str(path))), [LOAD, PACK], 'dmt.unlabeled')
    content = path.read_bytes()
    path.write_bytes(content + b'some more data')  # as some cameras append
    check_images(Images(dict(img_path=str(path))), [LOAD, PACK], 'dmt.unlabeled')
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r'^dmt\.unlabeled: .*x\.jpg cannot be read as an image \('):
        check_images(Images(dict(img_path=str(path))), [LOAD, PACK], 'dmt.unlabeled')


@pytest.mark.parametrize('suffix', ['.png', '.bmp', '.tif', '.webp', *GIF])
def test_other_images_that_are_cut_off(tmp_path, suffix):
    """Also where the name does not tell what the file is."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in (f'x{suffix}', 'x.jpg'):
        path = tmp_path / name
        Image.fromarray(pixels).save(tmp_path / f'whole{suffix}')
        path.write_bytes((tmp_path / f'whole{suffix}').read_bytes())
        check_images(Images(dict(img_path=str(path))), [LOAD, PACK], 'dmt.unlabeled')
        path.write_bytes(path.read_bytes()[:-600])
        with pytest.raises(ValueError, match=rf'^dmt\.unlabeled: .*{name} cannot be read as an image \('):
            check_images(Images(dict(img_path=str(path))), [LOAD, PACK], 'dmt.unlabeled')


def save_all_kinds(folder):
    """One image of every kind that a stock loading transform reads; their paths."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    frames = [image, image.rotate(180)]
    image.save(folder / 'color.jpg')
    image.convert('L').save(folder / 'gray.jpg')
    image.convert('CMYK').save(folder / 'cmyk.jpg')
    image.convert('P').save(folder / 'palette.png')
    image.convert('RGBA').save(folder / 'alpha.png')
    image.convert('LA').save(folder / 'gray_alpha.png')
    image.convert('1').save(folder / 'bits.png')
    image.save(folder / 'color.webp')
    for suffix in GIF:
        frames[0].save(folder / f'animated{suffix}', save_all=True, append_images=frames[1:])
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 256).save(folder / 'deep.png')
    return sorted(map(str, folder.iterdir()))


def test_every_kind_of_image_is_loaded_in_color(tmp_path):
    paths = save_all_kinds(tmp_path)
    assert len(paths) == 9 + len(GIF)
    check_images(Images(*(dict(img_path=path) for path in paths)), [LOAD, PACK], 'dmt.unlabeled')


def test_images_that_cannot_form_a_batch(tmp_path):
    paths = save_all_kinds(tmp_path)
    as_stored = [dict(LOAD, color_type='unchanged'), PACK]
    infos = [dict(img_path=path) for path in paths if path.endswith(('color.jpg', 'gray.jpg'))]
    check_images(Images(infos[0]), as_stored, 'dmt.unlabeled')
    with pytest.raises(ValueError, match=r'color\.jpg has 3 channels, but .*gray\.jpg has 1; color_type='):
        check_images(Images(*infos), as_stored, 'dmt.unlabeled')


class ReadArray(BaseTransform):
    """The user's own: its name does not begin with ``Load``."""

    def transform(self, results):
        results['img'] = np.load(results['img_path'])
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results


@pytest.mark.parametrize('number', [1, 2, 4, 5, 10])
def test_images_of_many_channels_by_the_users_own_transform(tmp_path, number):
    np.save(tmp_path / 'x.npy', np.ones((4, 6, number), np.float32))
    dataset = Images(dict(img_path=str(tmp_path / 'x.npy')))
    check_images(dataset, [ReadArray(), PACK], 'dmt.unlabeled')
    with pytest.raises(ValueError, match=r'x\.npy cannot be read as an image'):
        check_images(dataset, [LOAD, PACK], 'dmt.unlabeled')


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_values_that_are_no_numbers(tmp_path, value):
    """What a GeoTIFF holds where there is no data."""
    pixels = np.ones((4, 6, 2), np.float32)
    pixels[1, 1] = value
    np.save(tmp_path / 'x.npy', pixels)
    with pytest.raises(ValueError, match=r'^dmt\.unlabeled: .*x\.npy holds values that are no finite numbers'):
        check_images(Images(dict(img_path=str(tmp_path / 'x.npy'))), [ReadArray(), PACK], 'dmt.unlabeled')


@pytest.mark.parametrize(
    ('loading', 'turned'),
    [({}, 3), (dict(color_type='grayscale'), 3), (dict(color_type='unchanged'), 1),
     (dict(color_type='color_ignore_orientation'), 1), (dict(imdecode_backend='pillow'), 3)],
)  # fmt: skip
def test_whether_loading_turns_an_image(tmp_path, loading, turned):
    exif = Image.Exif()
    exif[274] = 3
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'x.jpg', exif=exif)
    info = dict(img_path=str(tmp_path / 'x.jpg'))
    assert orientation_turned_by([LoadImageFromFile(**loading)], info) == turned


def test_hard_links_are_the_same_image(image, tmp_path):
    os.link(image, tmp_path / 'other.png')
    with pytest.raises(ValueError, match='share 1 of their images'):
        check_disjoint([image], [str(tmp_path / 'other.png')])
    (tmp_path / 'copy.png').write_bytes(Path(image).read_bytes())
    check_disjoint([image], [str(tmp_path / 'copy.png')])


def test_first_unlabeled_image_goes_through_a_pipeline(image):
    seen = []

    def look(results):
        seen.append(results)
        return results

    dataset = Images(dict(img_path=image, seg_map_path='no.png', gt_label=3), dict(img_path='second.png'))
    sample = load_unlabeled(dataset, [LOAD, look, PACK], 'dmt.label_pipeline', extra=5)
    assert (sample.ori_shape, sample.sample_idx, sample.img_path) == ((2, 3), 0, image)
    assert (seen[0]['extra'], seen[0]['true_label'], 'seg_map_path' in seen[0]) == (5, 3, False)


@pytest.mark.parametrize(
    ('pipeline', 'message'),
    [
        ([LOAD, PACK, dict(type='Resize')], 'fails on the first unlabeled image: [A-Za-z]+Error: '),
        ([dict(type='NoSuch')], 'fails on the first unlabeled image: KeyError: .*NoSuch is not in the'),
        ([LOAD], r"gives no 'inputs'; it must load the image and end with PackDMTInputs$"),
        ([lambda results: dict(inputs=1)], "gives no 'data_samples'; it must"),
    ],
)
def test_pipeline_that_fails_is_named(image, pipeline, message):
    with pytest.raises(ValueError, match=rf'^dmt\.unlabeled\.pipeline {message}'):
        load_unlabeled(Images(dict(img_path=image)), pipeline, 'dmt.unlabeled.pipeline')


def test_the_same_image_in_another_spelling_or_behind_a_link(image, tmp_path):
    link = tmp_path / 'link.png'
    link.symlink_to(image)
    other = str(Path(image).parent / '..' / Path(image).parent.name / Path(image).name)
    for spelling in (other, str(link)):
        with pytest.raises(ValueError, match='share 1 of their images'):
            check_disjoint([image], [spelling])
        with pytest.raises(ValueError, match=r'^dmt\.labeled lists 2 of its images more than once: '):
            check_once([image, spelling], 'dmt.labeled')
    check_once([image, str(tmp_path / 'no.png')], 'dmt.labeled')

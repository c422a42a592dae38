from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.dataset import BaseDataset

from mmdmt.datasets.image_checks import (
    check_disjoint,
    check_exist,
    check_images,
    check_once,
    image_size,
    load_unlabeled,
)

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


def test_size_is_height_and_width(image):
    assert image_size(image, 'dmt.labeled') == (2, 3)
    assert image_size('digits://val/images/000000.png', 'dmt.labeled') == (64, 64)  # not on disk


def test_image_that_is_missing_or_broken(image, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'^dmt\.labeled: image .*no\.png does not exist$'):
        image_size(str(tmp_path / 'no.png'), 'dmt.labeled')
    with pytest.raises(FileNotFoundError, match=r'^dmt\.labeled: image digits://val/images/000200\.png does not'):
        image_size('digits://val/images/000200.png', 'dmt.labeled')
    Path(image).write_bytes(b'no image')
    with pytest.raises(ValueError, match=r'^dmt\.labeled: .*p\.png cannot be read as an image \('):
        image_size(image, 'dmt.labeled')


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

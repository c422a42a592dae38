import numpy as np
import pytest
import torch
from PIL import Image

from mmdmt.errors import UserError
from mmdmt.seg.predicted_maps import PredictedMaps, image_root


def sample(path, value, **more):
    return dict(img_path=str(path), pred_sem_seg=dict(data=torch.full((1, 2, 3), value)), **more)


def test_images_of_one_name_in_two_folders(tmp_path):
    metric = PredictedMaps(str(tmp_path / 'out'), str(tmp_path / 'images'))
    metric.process(
        None, [sample(tmp_path / 'images/field1/0001.jpg', 1), sample(tmp_path / 'images/field2/0001.jpg', 2)]
    )
    metric.process(None, [sample(tmp_path / 'images/field1/0001.jpg', 1)])  # a sampler may repeat an image
    metric.process(None, [sample(tmp_path / 'images/0001.v2.jpg', 3, reduce_zero_label=True)])
    found = {path.relative_to(tmp_path / 'out').as_posix(): np.array(Image.open(path)) for path in
             (tmp_path / 'out').rglob('*.png')}  # fmt: skip
    assert {name: pixels.tolist() for name, pixels in found.items()} == {
        'field1/0001.png': [[1] * 3] * 2, 'field2/0001.png': [[2] * 3] * 2, '0001.v2.png': [[4] * 3] * 2,
    }  # fmt: skip
    assert metric.evaluate(3) == {}


@pytest.mark.parametrize(
    ('image', 'root', 'expected'),
    [
        ('data/images/a/b.jpg', 'data/images', 'a/b.png'),
        ('data/images/a/b.jpg', './data/../data/images', 'a/b.png'),
        ('data/images2/b.jpg', 'data/images', 'data/images2/b.png'),
        ('/other/b.jpg', '/data', 'other/b.png'),
        ('../other/b.jpg', '', 'other/b.png'),
        ('val_0007', '', 'val_0007.png'),
        ('digits://val/images/7.png', '', 'val/images/7.png'),
        ('s3://bucket/images/a/b.jpg', 's3://bucket/images', 'a/b.png'),
    ],
)
def test_place(image, root, expected):
    assert PredictedMaps('out', root).path(image).as_posix() == f'out/{expected}'


def test_two_images_for_one_file(tmp_path):
    metric = PredictedMaps(str(tmp_path))
    with pytest.raises(UserError, match=r'the label maps of x/a\.jpg and x/a\.png would both be .*x/a\.png'):
        metric.process(None, [sample('x/a.jpg', 0), sample('x/a.png', 0)])


def test_root_of_a_dataset():
    parts = [dict(data_root='/d/one', data_prefix=dict(img_path='images')), dict(data_root='/d/two', data_prefix='x')]
    assert image_root(dict(type='ConcatDataset', datasets=parts)) == '/d'
    assert image_root(dict(type='Wrapped', dataset=parts[1])) == '/d/two/x'
    assert image_root(dict(type='InMemory', subset='val')) == ''

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from mmpretrain.registry import DATASETS
from sklearn.datasets import load_digits

from mmdmt.cls.digits import DigitsDataset
from mmdmt.cls.image_list import InMemoryDataset
from mmdmt.seg.digit_rendering import digit_pool


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def infos(subset, **kwargs):
    dataset = DigitsDataset(subset, **kwargs)
    return [dataset.get_data_info(index) for index in range(len(dataset))]


def indices(subset):
    return [int(info['img_path'][len('digits/') :][:4]) for info in infos(subset)]


def test_subsets_are_those_of_the_scenes():
    train, val, trainval, test = map(indices, ('train', 'val', 'trainval', 'test'))
    assert (len(train), len(val), len(trainval), len(test)) == (1078, 270, 1348, 449)
    assert trainval == digit_pool('train').tolist() == sorted(train + val)
    assert test == digit_pool('val').tolist()
    # every fourth of all is test, every fifth of the others val
    assert test[:2] == [3, 7]
    assert val[:3] == [0, 6, 13]
    assert train[:5] == [1, 2, 4, 5, 8]


@pytest.mark.parametrize('subset', ['train', 'val', 'test'])
def test_every_class_is_in_every_subset(subset):
    counts = np.bincount([info['gt_label'] for info in infos(subset)], minlength=10)
    assert counts.min() > 0.7 * counts.mean()


def test_images_labels_and_names():
    digits = load_digits()
    for info in infos('test'):
        index = int(info['img_path'][7:11])
        assert info['img_path'] == f'digits/{index:04d}_{digits.target[index]}'
        assert info['gt_label'] == digits.target[index]
        assert info['img'].shape == (8, 8, 3)
        assert info['img'].dtype == np.uint8
        for channel in range(3):
            np.testing.assert_array_equal(info['img'][..., channel], np.floor(digits.images[index] * 255 / 16))


def test_build_with_list_and_pipeline(tmp_path):
    (tmp_path / 'list.txt').write_text('digits/0006_6 6\ndigits/0000_0\n')
    config = {'type': 'DigitsDataset', 'subset': 'val', 'data_root': str(tmp_path), 'ann_file': 'list.txt'}
    dataset = DATASETS.build({**config, 'pipeline': [{'type': 'PackInputs'}]})
    assert [sample['data_samples'].gt_label.item() for sample in (dataset[0], dataset[1])] == [6, 0]
    assert dataset[0]['inputs'].shape == (3, 8, 8)
    assert dataset.metainfo['classes'] == tuple('0123456789')


def test_bad_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"'train', 'val', 'trainval', 'test'.*got 'labeled'"):
        DigitsDataset('labeled')
    (tmp_path / 'list.txt').write_text('digits/0003_3\n')
    with pytest.raises(ValueError, match=r"list\.txt, line 1: subset 'train' .* not 'digits/0003_3'"):
        DigitsDataset('train', ann_file=str(tmp_path / 'list.txt'))


def test_subclass_must_give_images():
    with pytest.raises(NotImplementedError, match='must define load_images'):
        InMemoryDataset('train')

"""What datasets in memory share; list files with mistakes are in test_cifar.py."""

import numpy as np
import pytest
from mmengine.registry import DefaultScope

from mmdmt.cls.image_list import InMemoryDataset
from mmdmt.core.splits import balanced_split

NAMES, LABELS = [f'set/{index}' for index in range(6)], [0, 1, 0, 1, 0, 1]


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


class Six(InMemoryDataset):
    """Image i has the value i everywhere, and the class i % 2; `test` is empty."""

    METAINFO = {'classes': ('even', 'odd')}

    def load_images(self):
        number = 0 if self.subset == 'test' else 6
        return [np.full((2, 2, 3), index, np.uint8) for index in range(number)], LABELS[:number], NAMES[:number]


def found(dataset):
    return [(info['img_path'], info['gt_label'], info['img'].max()) for info in dataset]


@pytest.mark.parametrize('serialize_data', [False, True])
def test_all_images_in_their_order(serialize_data):
    dataset = Six('train', serialize_data=serialize_data)
    assert found(dataset) == list(zip(NAMES, LABELS, range(6), strict=True))
    assert dataset.CLASSES == ('even', 'odd')


def test_listed_images_in_the_order_of_the_list(tmp_path):
    (tmp_path / 'list.txt').write_text('set/5 1\n\nset/0\n set/2  0 \n')
    for where in (dict(ann_file='list.txt', data_root=str(tmp_path)), dict(ann_file=str(tmp_path / 'list.txt'))):
        assert found(Six('train', **where)) == [('set/5', 1, 5), ('set/0', 0, 0), ('set/2', 0, 2)]


@pytest.mark.parametrize('split_id', [0, 1, 2])
def test_as_many_images_of_each_class(split_id):
    """The ones that a run with the same ``dmt.split`` labels."""
    dataset = Six('train', num_labeled=4, split_id=split_id)
    assert [name for name, *_ in found(dataset)] == balanced_split(NAMES, LABELS, 4, split_id)[0]
    assert sorted(label for _, label, _ in found(dataset)) == [0, 0, 1, 1]
    assert all(name == f'set/{value}' for name, _, value in found(dataset))


def test_splits_differ():
    chosen = {tuple(sorted(name for name, *_ in found(Six('train', num_labeled=2, split_id=id)))) for id in range(6)}
    assert len(chosen) > 1


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(subset='labeled'), r"^subset must be one of \('train', 'val', 'trainval', 'test'\), got 'labeled'$"),
        (dict(subset='test'), r"^subset 'test' must have at least one image, got none$"),
        (dict(subset='val', ann_file='x', num_labeled=2), r"^ann_file='x' and num_labeled=2 cannot both choose"),
        (dict(subset='val', num_labeled=3), r'number .*3'),
        (dict(subset='val', num_labeled=8), r'class 0 has 3 names, 8 in 2 classes need 4'),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Six(**arguments)


def test_printed(tmp_path):
    (tmp_path / 'list.txt').write_text('set/5\n')
    text = repr(Six('val', ann_file='list.txt', data_root=str(tmp_path)))
    assert 'Subset: \tval' in text
    assert f'Annotation file: \t{tmp_path}/list.txt' in text

from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.dataset import BaseDataset, ConcatDataset
from mmengine.registry import DefaultScope
from mmpretrain.datasets import CustomDataset

import mmdmt.cls  # noqa: F401  (registers datasets and transforms)
from mmdmt.cls.classification_task import ClassificationTask
from mmdmt.cls.digits import DigitsDataset
from mmdmt.core.splits import balanced_split

TASK = ClassificationTask()


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture
def folder(tmp_path, write_image):
    """images/{cat,dog}/{0,1,2}.png"""
    for name in ('cat', 'dog'):
        for index in range(3):
            write_image(tmp_path / f'images/{name}/{index}.png', np.zeros((2, 2, 3), np.uint8))
    return str(tmp_path / 'images')


class Infos(BaseDataset):
    """A dataset of given data infos."""

    def __init__(self, *infos):
        self.infos = infos
        super().__init__(serialize_data=False)

    def load_data_list(self):
        return [dict(info) for info in self.infos]


def test_number_of_classes_is_that_of_the_head():
    assert TASK.num_classes(dict(head=dict(type='LinearClsHead', num_classes=5))) == 5
    for model, kind in (
        (dict(head=dict(type='LinearClsHead')), 'LinearClsHead'),
        (dict(head=None), 'None'),
        ({}, 'None'),
    ):
        with pytest.raises(ValueError, match=rf'^model\.head \({kind}\) must set num_classes$'):
            TASK.num_classes(model)


def test_writer_ranks_as_the_run():
    assert TASK.writer(SimpleNamespace(ranking='class'), 10) == dict(type='ImageLabelWriter', ranking='class')


def test_writer_has_no_options():
    assert TASK.label_writer_settings.read({}, '').model_dump() == {}
    with pytest.raises(ValueError, match=r'^dmt\.label_writer has unknown key\(s\) half; allowed are none$'):
        TASK.label_writer_settings.read({'half': True}, 'dmt.label_writer')


@pytest.mark.parametrize(('ratio', 'number'), [(1.0, 7), (0.5, 4), (0.2, 1), (0.05, 0)])
def test_a_ratio_selects_images(ratio, number):
    assert TASK.selected(7, ratio) == number


def test_split_of_a_folder(folder):
    """Lines of list files that its own dataset type reads."""
    pool = CustomDataset(data_prefix=folder, serialize_data=False)
    labeled, unlabeled = TASK.split(pool, 2, split_id=1, seed=5)
    names = [f'{name}/{index}.png' for name in ('cat', 'dog') for index in range(3)]
    expected = balanced_split(names, [0, 0, 0, 1, 1, 1], 2, 1, 5)
    assert ([line.split()[0] for line in labeled], [line.split()[0] for line in unlabeled]) == expected
    assert sorted(labeled + unlabeled) == [f'{name} {int(name.startswith("dog"))}' for name in names]
    assert sorted(line[-1] for line in labeled) == ['0', '1']


def test_list_is_of_the_same_classes_as_the_folder(folder, tmp_path):
    pool = CustomDataset(data_prefix=folder, serialize_data=False)
    path = str(tmp_path / 'list.txt')
    (tmp_path / 'list.txt').write_text('dog/2.png 1\n')
    change = TASK.from_list(path, pool)
    assert change == dict(ann_file=path, classes=['cat', 'dog'])
    listed = CustomDataset(data_prefix=folder, serialize_data=False, **change)
    assert [(info['img_path'], info['gt_label']) for info in listed] == [(f'{folder}/dog/2.png', 1)]
    assert listed.metainfo['classes'] == ('cat', 'dog')
    assert TASK.from_list(path, Infos(dict(img_path='x'))) == dict(ann_file=path)


def test_split_of_images_in_memory(tmp_path):
    pool = DigitsDataset('val')
    labeled, unlabeled = TASK.split(pool, 20, split_id=0, seed=7777)
    assert (len(labeled), len(unlabeled)) == (20, 250)
    assert sorted(line.split()[1] for line in labeled) == sorted('0123456789' * 2)
    assert all(
        line.split()[0].startswith('digits/') and line[-1] == line.split()[0][-1] for line in labeled + unlabeled
    )
    (tmp_path / 'list.txt').write_text('\n'.join(labeled))
    assert len(DigitsDataset('val', **TASK.from_list(str(tmp_path / 'list.txt'), pool))) == 20


@pytest.mark.parametrize(
    ('pool', 'kind'),
    [
        (Infos(dict(img_path='x', gt_label=0), dict(img_path='y')), 'Infos'),
        (Infos(dict(img_path='x', gt_label=[0])), 'Infos'),
        (ConcatDataset([Infos(dict(img_path='x', gt_label=0))]), 'ConcatDataset'),
    ],
    ids=['no label', 'several labels', 'several datasets'],
)
def test_dataset_that_cannot_be_split(pool, kind):
    with pytest.raises(ValueError, match=rf'^dmt\.split needs dmt\.labeled to be one mmpretrain .*, got {kind}$'):
        TASK.split(pool, 1, split_id=0, seed=0)


def test_size_that_the_data_do_not_have(folder):
    pool = CustomDataset(data_prefix=folder, serialize_data=False)
    with pytest.raises(ValueError, match=r'^dmt\.split: .*3'):
        TASK.split(pool, 3, split_id=0, seed=0)


def test_any_transform_can_be_used():
    TASK.check_pipeline([dict(type='Albu'), dict(type='RandomRotFlip')], 'dmt.labeled.pipeline')


def test_samples_are_checked_with_the_pipelines_of_the_run():
    pack, other = [dict(type='PackDMTInputs')], [dict(type='PackInputs')]
    unlabeled = DigitsDataset('val', indices=1)
    TASK.check_samples(DigitsDataset('val', indices=1, pipeline=pack), unlabeled, pack, pack)
    with pytest.raises(ValueError, match=r'^dmt\.labeled\.pipeline must end with PackDMTInputs$'):
        TASK.check_samples(DigitsDataset('val', indices=1, pipeline=other), unlabeled, pack, pack)


def test_bytes_of_labels():
    assert TASK.label_bytes([None] * 7, []) == 7 * 60

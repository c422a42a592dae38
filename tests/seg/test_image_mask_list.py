import os
from pathlib import Path

import pytest
from mmseg.datasets import PascalVOCDataset

from mmdmt.seg.image_mask_list import ImageMaskList, VOCImageMaskList

DATA = Path(os.environ.get('MMDMT_SHARED_DATA') or Path(__file__).resolve().parents[3] / 'shared' / 'data')
LISTS = DATA / 'splits/unimatch/pascal'
needs_lists = pytest.mark.skipif(not LISTS.is_dir(), reason='the published lists are not here (MMDMT_SHARED_DATA)')


@pytest.fixture
def read(tmp_path):
    def read(text, kind=ImageMaskList, **arguments):
        (tmp_path / 'list.txt').write_text(text)
        arguments.setdefault('metainfo', dict(classes=('a', 'b')))
        return kind(ann_file='list.txt', data_root=str(tmp_path), pipeline=[], **arguments)

    return read


def test_paths_are_relative_to_the_root(read, tmp_path):
    dataset = read('images/x.jpg masks/x.png\n\nimages/y.jpg\n')
    assert len(dataset) == 2
    first, second = (dataset.get_data_info(index) for index in (0, 1))
    assert (first['img_path'], first['seg_map_path']) == (f'{tmp_path}/images/x.jpg', f'{tmp_path}/masks/x.png')
    assert second['img_path'] == f'{tmp_path}/images/y.jpg'
    assert 'seg_map_path' not in second
    assert first['seg_fields'] == []


def test_another_folder_of_masks(read, tmp_path):
    dataset = read('a/x.jpg SegmentationClass/deep/x.png\n', mask_folder='SegmentationClassAug')
    assert dataset.get_data_info(0)['seg_map_path'] == f'{tmp_path}/SegmentationClassAug/deep/x.png'


def test_a_line_of_three(read):
    with pytest.raises(ValueError, match=r"list\.txt, line 2: 'a b c' must be `IMAGE MASK` or `IMAGE`"):
        read('a b\na b c\n')


def test_classes_of_voc(read):
    dataset = read('a.jpg a.png\n', VOCImageMaskList, metainfo=None)
    assert dataset.metainfo['classes'] == PascalVOCDataset.METAINFO['classes']


@needs_lists
@pytest.mark.parametrize(('number', 'lines'), [('92', 92), ('183', 183), ('366', 366), ('732', 732), ('1464', 1464)])
def test_published_lists_of_the_original_family(number, lines):
    """Labeled images are all of VOC's own training set; with the unlabeled ones, they are the 10,582."""
    sets = [
        VOCImageMaskList(ann_file=str(LISTS / number / f'{part}.txt'), data_root='VOC', pipeline=[])
        for part in ('labeled', 'unlabeled')
    ]
    names = [{Path(part.get_data_info(idx)['img_path']).stem for idx in range(len(part))} for part in sets]
    assert [len(part) for part in sets] == [len(part) for part in names] == [lines, 10582 - lines]
    train = set((DATA / 'splits/voc2012/train.txt').read_text().split())
    assert names[0] <= train
    assert not names[0] & names[1]

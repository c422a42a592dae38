from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.dataset import ConcatDataset
from mmseg.datasets import BaseSegDataset

from mmdmt.core.splits import nested_split
from mmdmt.seg.digits import DigitScenesDataset
from mmdmt.seg.segmentation_task import LabelMapSettings, SegmentationTask

TASK = SegmentationTask()
LABEL_PIPELINE = [dict(type='LoadImageFromFile'), dict(type='PackDMTInputs')]


@pytest.fixture
def make(tmp_path, write_image):
    """A dataset of images by name and size."""

    def make(sizes):
        for name, size in sizes.items():
            write_image(tmp_path / f'images/{name}_img.png', np.zeros((*size, 3), np.uint8))
        return BaseSegDataset(data_root=str(tmp_path), data_prefix=dict(img_path='images'), img_suffix='_img.png')

    return make


@pytest.mark.parametrize(
    ('head', 'number'),
    [
        (dict(type='FCNHead', num_classes=5), 5),
        ([dict(num_classes=2), dict(num_classes=7)], 7),  # of a cascade
        (dict(type='IterativeDecodeHead', kernel_generate_head=dict(num_classes=4)), 4),
    ],
    ids=['head', 'cascade', 'K-Net'],
)
def test_number_of_classes_is_that_of_the_last_head(head, number):
    assert TASK.num_classes(dict(decode_head=head)) == number


@pytest.mark.parametrize('head', [dict(type='FCNHead'), dict(type='FCNHead', num_classes='5')])
def test_head_that_does_not_say_its_classes(head):
    with pytest.raises(ValueError, match=r'^model\.decode_head \(FCNHead\) must set num_classes$'):
        TASK.num_classes(dict(decode_head=head))


def test_writer_gets_its_options():
    settings = SimpleNamespace(label_writer=dict(rank_stride=16, half=True))
    assert TASK.writer(settings, 10) == dict(type='PseudoLabelWriter', rank_stride=16, half=True)
    assert TASK.writer(SimpleNamespace(label_writer={}), 10) == dict(type='PseudoLabelWriter')


@pytest.mark.parametrize(
    ('images', 'option', 'expected'),
    [(10**5, None, {}), (10**5 + 1, None, dict(archives=True)), (10**6, False, dict(archives=False)),
     (1, True, dict(archives=True))],
)  # fmt: skip
def test_labels_of_many_images_go_into_archives(images, option, expected):
    settings = SimpleNamespace(label_writer=dict(archives=option))
    assert TASK.writer(settings, images) == dict(type='PseudoLabelWriter', **expected)


def test_options_of_the_writer():
    assert LabelMapSettings.read({}, '').model_dump() == dict(rank_stride=1, half=False, archives=None)
    for content, message in (({'rank_stride': 0}, 'rank_stride must be above 0'), ({'half': 1}, 'half must be True')):
        with pytest.raises(ValueError, match=f'^dmt.label_writer.{message}'):
            LabelMapSettings.read(content, 'dmt.label_writer')


def test_every_image_has_pixels_that_a_ratio_selects():
    assert [TASK.selected(7, ratio) for ratio in (0.01, 1.0)] == [7, 7]


def test_split_lists_the_names_without_folder_and_suffix(make):
    names = ['berlin/0', 'berlin/1', 'tokyo/2', 'tokyo/3']
    pool = make(dict.fromkeys(names, (2, 3)))
    labeled, unlabeled = TASK.split(pool, 2, split_id=1, seed=5)
    assert (labeled, unlabeled) == nested_split(names, 2, 1, 5)
    assert sorted(labeled + unlabeled) == names
    assert len(labeled) == 2
    with pytest.raises(ValueError, match=r'^dmt\.split needs dmt\.labeled to be one mmseg dataset, got ConcatDataset$'):
        TASK.split(ConcatDataset([pool, pool]), 2, split_id=0, seed=0)


def test_list_file_is_read_by_the_dataset(make, tmp_path):
    make({'a/0': (2, 3), 'a/1': (2, 3)})
    (tmp_path / 'list.txt').write_text('a/1\n')
    change = TASK.from_list(str(tmp_path / 'list.txt'), None)
    assert change == dict(ann_file=str(tmp_path / 'list.txt'))
    listed = BaseSegDataset(
        data_root=str(tmp_path), data_prefix=dict(img_path='images'), img_suffix='_img.png', **change
    )
    assert [info['img_path'] for info in listed] == [str(tmp_path / 'images/a/1_img.png')]


def test_bytes_of_labels_are_three_a_pixel(make):
    sizes = {'a': (10, 20), 'b': (30, 10), 'c': (5, 8)}
    assert TASK.label_bytes(make(sizes), LABEL_PIPELINE) == 3 * (200 + 300 + 40)
    # Labels are made at the size that the pipeline leads to.
    resized = [LABEL_PIPELINE[0], dict(type='Resize', scale=(6, 4)), dict(type='SetOriginalShape'), LABEL_PIPELINE[1]]
    assert TASK.label_bytes(make(sizes), resized) == 3 * 3 * 6 * 4


def test_bytes_of_many_labels_are_those_of_some(make):
    """Of 34 images every second one is looked at, which has 2 pixels; the others have 4."""
    sizes = {f'{number:02d}': (1, 2 + 2 * (number % 2)) for number in range(34)}
    assert TASK.label_bytes(make(sizes), LABEL_PIPELINE) == 3 * 34 * 2


def test_samples_are_checked_with_the_pipelines_of_the_run(make):
    refused = [*LABEL_PIPELINE, dict(type='RandomRotFlip')]
    with pytest.raises(ValueError, match=r'^dmt\.unlabeled\.pipeline: transform RandomRotFlip'):
        TASK.check_samples(make({'a': (2, 3)}), make({'a': (2, 3)}), LABEL_PIPELINE, refused)
    with pytest.raises(ValueError, match=r'^dmt\.labeled\.pipeline must load with LoadDMTAnnotations'):
        TASK.check_samples(make({'a': (2, 3)}), make({'a': (2, 3)}), LABEL_PIPELINE, LABEL_PIPELINE)
    human = [LABEL_PIPELINE[0], dict(type='LoadDMTAnnotations'), LABEL_PIPELINE[1]]
    labeled = DigitScenesDataset(subset='val', indices=1, pipeline=human)
    TASK.check_samples(labeled, make({'a': (2, 3)}), LABEL_PIPELINE, human)
    with pytest.raises(ValueError, match=r'^dmt\.label_pipeline must end with PackDMTInputs$'):
        TASK.check_samples(labeled, make({'a': (2, 3)}), [LABEL_PIPELINE[0], dict(type='PackSegInputs')], human)

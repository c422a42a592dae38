import math

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS

from mmdmt.core.ranking import ClassHistogram
from mmdmt.datasets.label_store import LabelStore

LABEL_PIPELINE = [{'type': 'LoadImageFromFile'}, {'type': 'PackDMTInputs'}]
TRAIN_PIPELINE = [{'type': 'LoadImageFromFile'}, {'type': 'LoadDMTAnnotations'}, {'type': 'PackDMTInputs'}]

# Two images, two classes. Class 0 has the codes 10 20 30 40; class 1 has 5 5 6 7 8 9 50 60.
LABELS = np.array([[[0, 0, 0], [1, 1, 1]], [[0, 1, 1], [1, 1, 1]]], dtype=np.uint8)
CODES = np.array([[[10, 20, 30], [5, 6, 50]], [[40, 5, 7], [8, 9, 60]]], dtype=np.uint16)
NAMES = ['000000_p', '000001_q']


def build(type_, dataset, pipeline, **kwargs):
    return DATASETS.build({'type': type_, 'dataset': dataset, 'pipeline': pipeline, **kwargs})


@pytest.fixture
def images(image_folder):
    return image_folder('images', ['p', 'q'])


@pytest.fixture
def label_dir(tmp_path):
    store, histogram = LabelStore(tmp_path / 'store'), ClassHistogram(2)
    for name, label, code in zip(NAMES, LABELS, CODES, strict=True):
        store.write(name, label, code)
        histogram.update(torch.from_numpy(label), torch.from_numpy(code.astype(np.int32)))
    store.finish(histogram)
    return str(store.root)


def test_images_without_masks(images):
    dataset = build('UnlabeledDataset', images, LABEL_PIPELINE)
    assert len(dataset) == 2
    assert [dataset.name(index) for index in range(2)] == NAMES
    assert dataset.metainfo['classes'] == ('a', 'b')
    sample = dataset[1]['data_samples']
    assert sample.metainfo['sample_idx'] == 1
    assert 'gt_sem_seg' not in sample


def test_no_mask_leaks(image_folder):
    config = image_folder('images', ['p'], data_prefix={'img_path': 'images', 'seg_map_path': 'masks'})
    dataset = build('UnlabeledDataset', config, LABEL_PIPELINE)
    assert 'seg_map_path' in dataset.dataset.get_data_info(0)
    for _ in range(2):
        info = dataset.get_data_info(0)
        assert not any('masks' in str(value) for value in info.values())
        assert info['seg_fields'] == []
    assert 'seg_map_path' not in dataset[0]['data_samples'].metainfo
    with pytest.raises(KeyError):
        build('UnlabeledDataset', config, TRAIN_PIPELINE)[0]  # there is no mask to load


def test_given_pipeline_replaces_the_wrapped_one(images):
    dataset = build('UnlabeledDataset', {**images, 'pipeline': TRAIN_PIPELINE}, [{'type': 'LoadImageFromFile'}])
    assert dataset[0]['img'].shape == (2, 3, 3)


def test_concatenation_of_equal_stems_stays_unique(image_folder):
    parts = [image_folder(folder, ['p', 'q', 'r']) for folder in ('berlin', 'tokyo')]
    dataset = build('UnlabeledDataset', {'type': 'ConcatDataset', 'datasets': parts}, LABEL_PIPELINE)
    metas = [dataset[index]['data_samples'].metainfo for index in range(len(dataset))]
    assert [meta['sample_idx'] for meta in metas] == [0, 1, 2, 3, 4, 5]
    assert [meta['img_path'].split('/')[-2] for meta in metas] == ['berlin'] * 3 + ['tokyo'] * 3
    assert [dataset.name(index) for index in range(6)] == [
        '000000_p', '000001_q', '000002_r', '000003_p', '000004_q', '000005_r'
    ]  # fmt: skip


def test_takes_a_built_dataset(images):
    built = DATASETS.build(images)
    assert build('UnlabeledDataset', built, LABEL_PIPELINE).dataset is built


@pytest.mark.parametrize(
    ('ratio', 'thresholds', 'expected'),
    [
        # the best two of class 0 and the best four of class 1; the best six of all would be others
        (0.5, [30, 8], [[[255, 255, 0], [255, 255, 1]], [[0, 255, 255], [1, 1, 1]]]),
        (0.25, [40, 50], [[[255, 255, 255], [255, 255, 1]], [[0, 255, 255], [255, 255, 1]]]),
        (1.0, [10, 5], LABELS),
    ],
)
def test_pixels_under_their_class_threshold_are_ignored(images, label_dir, ratio, thresholds, expected):
    dataset = build('PseudoLabelDataset', images, TRAIN_PIPELINE, label_dir=label_dir, label_ratio=ratio)
    assert dataset.thresholds.tolist() == thresholds
    for index in range(2):
        sample = dataset[index]['data_samples']
        assert sample.gt_sem_seg.data[0].tolist() == np.asarray(expected)[index].tolist()
        confidence = [1 / (1 + math.exp(6 - code / 65535 * 32)) for code in CODES[index].flatten().tolist()]
        assert sample.gt_confidence.data.flatten().tolist() == pytest.approx(confidence, rel=1e-5)
        assert sample.metainfo['sample_idx'] == index


def test_another_ratio_needs_no_new_labels(images, label_dir):
    store = LabelStore(label_dir)

    def files():
        return {path: path.read_bytes() for path in store.root.rglob('*') if path.is_file()}

    before = files()
    datasets = [
        build('PseudoLabelDataset', images, TRAIN_PIPELINE, label_dir=label_dir, label_ratio=ratio)
        for ratio in (0.25, 0.5, 1.0)
    ]
    kept = [sum(int((ds[i]['data_samples'].gt_sem_seg.data != 255).sum()) for i in range(2)) for ds in datasets]
    assert kept == [3, 6, 12]
    assert files() == before


def test_pseudo_labels_of_a_concatenation(image_folder, label_dir):
    parts = [image_folder(folder, stems) for folder, stems in (('berlin', ['p']), ('tokyo', ['q']))]
    concat = {'type': 'ConcatDataset', 'datasets': parts}
    dataset = build('PseudoLabelDataset', concat, TRAIN_PIPELINE, label_dir=label_dir, label_ratio=1.0)
    assert dataset[1]['data_samples'].gt_sem_seg.data[0].tolist() == LABELS[1].tolist()


def test_incomplete_store_is_refused(images, label_dir):
    (LabelStore(label_dir).root / 'labels.json').unlink()
    with pytest.raises(FileNotFoundError, match='run their label phase first'):
        build('PseudoLabelDataset', images, TRAIN_PIPELINE, label_dir=label_dir, label_ratio=1.0)


@pytest.mark.parametrize('stems', [['p'], ['o', 'p', 'q'], ['p', 'z']])
def test_labels_of_other_images_are_refused(image_folder, label_dir, stems):
    images = image_folder('others', stems)
    with pytest.raises(ValueError, match=f'not of the {len(stems)} images'):
        build('PseudoLabelDataset', images, TRAIN_PIPELINE, label_dir=label_dir, label_ratio=1.0)


@pytest.mark.parametrize('ratio', [0, -0.1, 1.1])
def test_ratio_out_of_range_is_refused(images, label_dir, ratio):
    with pytest.raises(ValueError, match='ratio'):
        build('PseudoLabelDataset', images, TRAIN_PIPELINE, label_dir=label_dir, label_ratio=ratio)

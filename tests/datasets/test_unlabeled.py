import math
from itertools import islice

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset, ConcatDataset
from mmengine.registry import DATASETS, DefaultScope

import mmdmt.cls  # noqa: F401  (registers the transforms)
from mmdmt.core.ranking import ClassHistogram
from mmdmt.datasets.labeled_unlabeled_sampler import LabeledUnlabeledSampler
from mmdmt.datasets.unlabeled import PseudoLabelDataset, UnlabeledDataset
from mmdmt.errors import UserError
from mmdmt.labels.maps import LabelMaps
from mmdmt.labels.table import LabelRow, LabelTable

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
    store, histogram = LabelMaps(tmp_path / 'store'), ClassHistogram(2)
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
    with pytest.raises(UserError, match='a transform fails: KeyError'):
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
    assert dataset.selection.thresholds.tolist() == thresholds
    for index in range(2):
        sample = dataset[index]['data_samples']
        assert sample.gt_sem_seg.data[0].tolist() == np.asarray(expected)[index].tolist()
        confidence = [1 / (1 + math.exp(6 - code / 65535 * 48)) for code in CODES[index].flatten().tolist()]
        assert sample.gt_confidence.data.flatten().tolist() == pytest.approx(confidence, rel=1e-5)
        assert sample.metainfo['sample_idx'] == index


def test_another_ratio_needs_no_new_labels(images, label_dir):
    store = LabelMaps(label_dir)

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
    (LabelMaps(label_dir).root / 'labels.json').unlink()
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


# Eight images of three classes. The teacher takes image 2 for class 0 and never predicts class 2.
TRUE_LABELS = [0, 0, 1, 1, 2, 2, 1, 0]
TEACHER = [0, 0, 0, 1, 1, 1, 1, 0]
LOG_ODDS = [3.0, 1.0, 4.0, 5.0, 2.0, -1.0, 6.0, 7.0]
SELECTED = {
    # all: 7 6 5 4 3 2 1 -1 are the images 7 6 3 2 0 4 1 5
    ('all', 0.125): [7],
    ('all', 0.5): [2, 3, 6, 7],
    ('all', 0.75): [0, 2, 3, 4, 6, 7],
    ('all', 1.0): list(range(8)),
    # class 0: the images 7 2 0 1; class 1: 6 3 4 5
    ('class', 0.125): [6, 7],
    ('class', 0.5): [2, 3, 6, 7],
    ('class', 0.75): [0, 2, 3, 4, 6, 7],
    ('class', 1.0): list(range(8)),
}


class ImageClasses(BaseDataset):
    """Images of which everything is known."""

    METAINFO = {'classes': ('cat', 'dog', 'cow')}

    def load_data_list(self):
        return [
            {'img_path': f'some/x{index}.png', 'gt_label': label, 'gt_score': [0.1, 0.2, 0.7]}
            for index, label in enumerate(TRUE_LABELS)
        ]


def image_names(number=8):
    return [f'{index:06d}_x{index}' for index in range(number)]


@pytest.fixture
def table_dir(tmp_path):
    table = LabelTable(tmp_path / 'table')
    rows = zip(image_names(), TEACHER, LOG_ODDS, TRUE_LABELS, strict=True)
    table.append([LabelRow(*row) for row in rows])
    table.finish()
    return str(table.root)


def test_true_class_of_an_image_is_not_its_label():
    dataset = UnlabeledDataset(ImageClasses(), [])
    assert len(dataset) == 8
    assert dataset.metainfo['classes'] == ('cat', 'dog', 'cow')
    for index, true_label in enumerate(TRUE_LABELS):
        for _ in range(2):  # the wrapped dataset keeps its own
            info = dataset[index]
            assert not {'gt_label', 'gt_score'} & info.keys()
            assert info['true_label'] == true_label
            assert info['sample_idx'] == index
        assert dataset.dataset.get_data_info(index)['gt_label'] == true_label
    assert [dataset.name(index) for index in range(8)] == image_names()


def test_images_without_a_known_class_have_no_true_label(images):
    assert 'true_label' not in build('UnlabeledDataset', images, LABEL_PIPELINE).get_data_info(0)


@pytest.mark.parametrize(('ranking', 'ratio'), SELECTED)
def test_images_are_selected_by_the_confidence_of_the_teacher(table_dir, ranking, ratio):
    dataset = PseudoLabelDataset(ImageClasses(), [], table_dir, ratio, ranking)
    selected = SELECTED[ranking, ratio]
    assert len(dataset) == len(selected)
    assert [dataset[position]['sample_idx'] for position in range(len(dataset))] == selected
    for position, index in enumerate(selected):
        info = dataset[position]
        assert info['img_path'].endswith(f'x{index}.png')
        assert info['gt_label'] == TEACHER[index]
        assert info['gt_confidence'] == pytest.approx(1 / (1 + math.exp(-LOG_ODDS[index])))
        assert not {'true_label', 'gt_score'} & info.keys()


def test_labels_are_the_teachers_where_it_is_wrong(table_dir):
    dataset = PseudoLabelDataset(ImageClasses(), [], table_dir, 1.0)
    assert [dataset[index]['gt_label'] for index in (2, 4, 5)] == [0, 1, 1]
    assert [TRUE_LABELS[index] for index in (2, 4, 5)] == [1, 2, 2]


def test_images_are_ranked_by_class_by_default(tmp_path):
    table = LabelTable(tmp_path)
    table.append([LabelRow(name, int(name == '000003_x3'), 9.0 - int(name[:6])) for name in image_names()])
    table.finish()
    chosen = {}
    for name, extra in {'default': {}, 'class': {'ranking': 'class'}, 'all': {'ranking': 'all'}}.items():
        dataset = PseudoLabelDataset(ImageClasses(), [], str(tmp_path), 0.25, **extra)
        chosen[name] = [dataset[position]['sample_idx'] for position in range(len(dataset))]
    assert chosen == {'default': [0, 1, 3], 'class': [0, 1, 3], 'all': [0, 1]}


def test_selected_images_of_a_concatenation_keep_their_index(tmp_path):
    table = LabelTable(tmp_path)
    names = [f'{index:06d}_x{index % 8}' for index in range(16)]
    table.append([LabelRow(name, 1, float(index == 13) + float(index == 2)) for index, name in enumerate(names)])
    table.finish()
    both = ConcatDataset([ImageClasses(), ImageClasses()])
    dataset = PseudoLabelDataset(both, [], str(tmp_path), 0.125, 'all')
    assert [(dataset[position]['sample_idx'], dataset[position]['img_path']) for position in range(2)] == [
        (2, 'some/x2.png'),
        (13, 'some/x5.png'),
    ]


def test_selected_images_are_packed_with_the_teachers_confidence(tmp_path, table_dir, write_png):
    """The way of an image through stock datasets and transforms of mmpretrain."""
    listed = [f'x{index}.png {label}' for index, label in enumerate(TRUE_LABELS)]
    for index in range(8):
        write_png(f'images/x{index}.png', np.full((2, 3, 3), index))
    (tmp_path / 'list.txt').write_text('\n'.join(listed))
    pipeline = [{'type': 'LoadImageFromFile'}, {'type': 'PackDMTInputs'}]
    config = {'type': 'CustomDataset', 'data_root': str(tmp_path), 'ann_file': 'list.txt', 'data_prefix': 'images'}
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        unlabeled = build('UnlabeledDataset', config, pipeline)
        pseudo = build('PseudoLabelDataset', config, pipeline, label_dir=table_dir, label_ratio=0.5, ranking='all')
    sample = unlabeled[2]['data_samples']
    assert 'gt_label' not in sample
    assert 'gt_confidence' not in sample
    assert sample.true_label == 1
    for position, index in enumerate(SELECTED['all', 0.5]):
        packed = pseudo[position]
        assert packed['inputs'].unique().tolist() == [index]
        sample = packed['data_samples']
        assert sample.gt_label.tolist() == [TEACHER[index]]
        assert sample.gt_confidence.item() == pytest.approx(1 / (1 + math.exp(-LOG_ODDS[index])))
        assert 'true_label' not in sample
    assert unlabeled[0]['data_samples'].metainfo.keys() >= {'img_path', 'true_label'}


@pytest.mark.parametrize(('ratio', 'batches'), [(0.125, 1), (0.5, 2), (0.75, 2), (1.0, 3)])
def test_epoch_is_one_pass_over_the_selected_images(table_dir, ratio, batches):
    """1, 4, 6 or 8 images, three a batch."""
    pseudo = {'type': 'PseudoLabelDataset', 'dataset': ImageClasses(), 'pipeline': [], 'ranking': 'all'}
    both = ConcatDataset([ImageClasses(), {**pseudo, 'label_dir': table_dir, 'label_ratio': ratio}])
    source = LabeledUnlabeledSampler(both, labeled=1, unlabeled=3, seed=0)
    assert len(source) == 4 * batches
    drawn = [both[index]['sample_idx'] for index in islice(source, len(source)) if index >= 8]
    assert set(drawn) == set(SELECTED['all', ratio])


@pytest.mark.parametrize('number', [7, 9])
def test_table_of_other_images_is_refused(tmp_path, number):
    table = LabelTable(tmp_path)
    table.append([LabelRow(name, 0, 1.0) for name in image_names(number)])
    table.finish()
    with pytest.raises(ValueError, match=rf'labels of {number} images, but not of the 8 images'):
        PseudoLabelDataset(ImageClasses(), [], str(tmp_path), 1.0)


def test_table_that_is_not_complete_is_refused(tmp_path):
    LabelTable(tmp_path).append([LabelRow(name, 0, 1.0) for name in image_names()])
    with pytest.raises(FileNotFoundError, match='run their label phase first'):
        PseudoLabelDataset(ImageClasses(), [], str(tmp_path), 1.0)


@pytest.mark.parametrize(('ratio', 'message'), [(0, 'ratio'), (1.1, 'ratio'), (0.01, 'selects none of 8')])
def test_ratio_that_selects_no_image_is_refused(table_dir, ratio, message):
    with pytest.raises(ValueError, match=message):
        PseudoLabelDataset(ImageClasses(), [], table_dir, ratio, 'all')

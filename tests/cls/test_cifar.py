import io
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from mmpretrain.datasets import CIFAR10
from mmpretrain.datasets.categories import CIFAR10_CATEGORIES
from mmpretrain.registry import DATASETS

from mmdmt.cls import cifar
from mmdmt.cls.cifar import DMTCIFAR10, DMTCIFAR100
from mmdmt.core.splits import balanced_split

DATA = Path(os.environ.get('MMDMT_SHARED_DATA') or Path(__file__).resolve().parents[3] / 'shared' / 'data')
REAL = DATA / 'cifar10_jpeg_small'
# In each of the five training files of CIFAR-10; the test file has as many.
PER_FILE = 30


class Python2Pickler(pickle._Pickler):
    """Writes all strings as Python 2 wrote its ``str``, as the published files have them."""

    def save_string(self, value):
        raw = value.encode('latin1') if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack('<i', len(raw)) + raw)
        self.memoize(value)

    dispatch = {**pickle._Pickler.dispatch, str: save_string, bytes: save_string}


def python2_dumps(value):
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(value)
    return file.getvalue()


def python3_dumps(value):
    return pickle.dumps(value, protocol=2)


def bytes_keys_dumps(value):
    return pickle.dumps({key.encode(): item for key, item in value.items()}, protocol=2)


def planes(number, seed):
    return np.random.default_rng(seed).integers(0, 256, (number, 3072), dtype=np.uint8)


def write_files(folder, label_key, files, num_classes, number, dumps=python2_dumps):
    """Write batches of ``number`` random images, class after class in turns."""
    folder.mkdir(parents=True, exist_ok=True)
    batches = {}
    for seed, file in enumerate(files):
        labels = [(seed + index) % num_classes for index in range(number)]
        batches[file] = {'batch_label': file, label_key: labels, 'data': planes(number, seed), 'filenames': ['x.png']}
        (folder / file).write_bytes(dumps(batches[file]))
    return batches


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture
def cifar10(tmp_path):
    """Write a small CIFAR-10: 150 training images and 30 test images."""
    write_files(tmp_path / 'cifar-10-batches-py', 'labels', cifar_files(DMTCIFAR10), 10, PER_FILE)
    return str(tmp_path)


def cifar_files(dataset):
    return (*dataset.TRAIN_FILES, *dataset.TEST_FILES)


def infos(dataset):
    return [dataset.get_data_info(index) for index in range(len(dataset))]


def names(dataset):
    return [info['img_path'] for info in infos(dataset)]


@pytest.mark.parametrize('dumps', [python2_dumps, python3_dumps, bytes_keys_dumps])
@pytest.mark.parametrize('serialize_data', [False, True])
def test_images_labels_and_names(tmp_path, dumps, serialize_data):
    files = cifar_files(DMTCIFAR10)
    batches = write_files(tmp_path / 'cifar-10-batches-py', 'labels', files, 10, 3, dumps)
    dataset = DMTCIFAR10(str(tmp_path), 'trainval', serialize_data=serialize_data)
    assert len(dataset) == 15
    info = dataset.get_data_info(5)
    assert info['img_path'] == 'data_batch_2/00002_cat'
    assert info['gt_label'] == batches['data_batch_2']['labels'][2] == 3
    row = batches['data_batch_2']['data'][2]
    assert info['img'].shape == (32, 32, 3)
    assert info['img'].dtype == np.uint8
    for y, x, channel in ((0, 0, 0), (0, 1, 0), (1, 0, 0), (31, 31, 2), (7, 20, 1)):
        assert info['img'][y, x, channel] == row[1024 * channel + 32 * y + x]


@pytest.mark.parametrize('num_val', [10, 20, 140])
def test_val_is_taken_out_of_train(cifar10, num_val):
    subsets = {subset: DMTCIFAR10(cifar10, subset, num_val=num_val) for subset in ('train', 'val', 'trainval', 'test')}
    train, val, trainval, test = map(names, subsets.values())
    assert (len(train), len(val), len(trainval), len(test)) == (150 - num_val, num_val, 150, 30)
    assert not set(train) & set(val)
    assert sorted(train + val) == trainval
    assert train == [name for name in trainval if name in train]
    assert val == [name for name in trainval if name in val]
    assert np.bincount(subsets['val'].get_gt_labels()).tolist() == [num_val // 10] * 10
    assert not set(test) & set(trainval)
    labels = subsets['trainval'].get_gt_labels().tolist()
    assert set(val) == set(balanced_split(trainval, labels, num_val, 0, cifar.VAL_SEED)[0])
    by_name = {info['img_path']: info for info in infos(subsets['trainval'])}
    for info in infos(subsets['train']) + infos(subsets['val']):
        np.testing.assert_array_equal(info['img'], by_name[info['img_path']]['img'])
        assert info['gt_label'] == by_name[info['img_path']]['gt_label']


def test_val_that_takes_all_leaves_no_train(cifar10):
    assert len(DMTCIFAR10(cifar10, 'val', num_val=150)) == 150
    with pytest.raises(ValueError, match=r"'train' must have at least one image"):
        DMTCIFAR10(cifar10, 'train', num_val=150)
    with pytest.raises(ValueError, match='class 0 has 15 names, 160 in 10 classes need 16'):
        DMTCIFAR10(cifar10, 'train', num_val=160)


def test_cifar100(tmp_path):
    folder = tmp_path / 'cifar-100-python'
    write_files(folder, 'fine_labels', ('train', 'test'), 100, 300)
    val = DATASETS.build({'type': 'DMTCIFAR100', 'data_root': str(tmp_path), 'subset': 'val'})
    assert np.bincount(val.get_gt_labels()).tolist() == [2] * 100
    train = DMTCIFAR100(str(tmp_path), 'train', num_val=100)
    assert len(train) == 200
    assert not any(' ' in name for name in names(train))
    assert names(DMTCIFAR100(str(tmp_path), 'test'))[:2] == ['test/00000_aquarium_fish', 'test/00001_baby']
    assert len(val.metainfo['classes']) == 100


def test_ann_file_chooses_and_orders(cifar10, tmp_path):
    (tmp_path / 'lists').mkdir()
    path = tmp_path / 'lists/some.txt'
    path.write_text('data_batch_5/00003_horse\n\ndata_batch_1/00003_cat 3\ndata_batch_1/00000_airplane\n')
    for ann_file in ('lists/some.txt', str(path)):
        dataset = DMTCIFAR10(cifar10, 'trainval', ann_file=ann_file)
        assert [(info['img_path'], info['gt_label']) for info in infos(dataset)] == [
            ('data_batch_5/00003_horse', 7),
            ('data_batch_1/00003_cat', 3),
            ('data_batch_1/00000_airplane', 0),
        ]


def test_ann_file_of_a_split_is_the_split(cifar10, tmp_path):
    train = DMTCIFAR10(cifar10, 'train', num_val=10)
    labeled, unlabeled = balanced_split(names(train), train.get_gt_labels().tolist(), 40)
    for listed in (labeled, unlabeled):
        (tmp_path / 'list.txt').write_text('\n'.join(listed) + '\n')
        assert names(DMTCIFAR10(cifar10, 'train', num_val=10, ann_file='list.txt')) == listed


def test_indices_pipeline_and_build(cifar10):
    config = {'type': 'DMTCIFAR10', 'data_root': cifar10, 'subset': 'test', 'indices': 4, 'test_mode': True}
    dataset = DATASETS.build({**config, 'pipeline': [{'type': 'PackInputs'}]})
    assert len(dataset) == 4
    sample = dataset[2]
    np.testing.assert_array_equal(sample['inputs'].numpy(), dataset.get_data_info(2)['img'].transpose(2, 0, 1))
    assert sample['data_samples'].gt_label.tolist() == [dataset.get_data_info(2)['gt_label']]
    assert sample['data_samples'].img_path == dataset.get_data_info(2)['img_path']
    assert 'Subset: \ttest' in repr(dataset)
    assert dataset.metainfo['classes'] == CIFAR10_CATEGORIES


def test_a_pipeline_that_writes_does_not_change_the_data(cifar10):
    dataset = DMTCIFAR10(cifar10, 'test')
    first = dataset.get_data_info(0)['img']
    before = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(dataset.get_data_info(0)['img'], before)
    np.testing.assert_array_equal(DMTCIFAR10(cifar10, 'test').get_data_info(0)['img'], before)


def test_lazy_init_reads_nothing(tmp_path):
    dataset = DMTCIFAR10(str(tmp_path), 'train', lazy_init=True)
    assert dataset.metainfo['classes'][6] == 'frog'
    with pytest.raises(FileNotFoundError):
        dataset.full_init()


def test_files_are_parsed_once_until_they_change(cifar10, monkeypatch):
    parsed = []
    load_pickle = cifar.load_pickle
    monkeypatch.setattr(cifar, 'load_pickle', lambda path: parsed.append(path.name) or load_pickle(path))
    for subset in ('train', 'val', 'trainval', 'test', 'test'):
        DMTCIFAR10(cifar10, subset, num_val=10)
    assert sorted(parsed) == sorted(cifar_files(DMTCIFAR10))
    write_files(Path(cifar10) / 'cifar-10-batches-py', 'labels', ['test_batch'], 10, 5)
    assert len(DMTCIFAR10(cifar10, 'test')) == 5


@pytest.mark.parametrize('dataset', [DMTCIFAR10, DMTCIFAR100])
def test_missing_file_says_where_to_get_it(tmp_path, dataset):
    with pytest.raises(FileNotFoundError) as error:
        dataset(str(tmp_path), 'train')
    first = tmp_path / dataset.FOLDER / dataset.TRAIN_FILES[0]
    for part in (str(first), f'data_root ({str(tmp_path)!r})', dataset.ARCHIVE, 'www.cs.toronto.edu/~kriz/cifar.html'):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'data': None}, "'data' must be a uint8 array .* got NoneType"),
        ({'data': planes(4, 0)[:, :-1]}, r"'data' must be a uint8 array of shape \(N, 3072\) .* got shape \(4, 3071\)"),
        ({'data': planes(4, 0)[0]}, r'got shape \(3072,\)'),
        ({'data': planes(0, 0)}, r'N > 0, got shape \(0, 3072\)'),
        ({'data': planes(4, 0).astype(np.int32)}, "dtype 'i4'; allowed is 'u1'"),
        ({'labels': [0, 1, 2]}, "'labels' must be a list of 4 labels, got 3 labels"),
        ({'labels': '0123'}, 'got str'),
        ({'labels': [0, 1, 10, 3]}, "'labels' must be integers from 0 to 9, got 10 at 2"),
        ({'labels': [0, 1, 2, -1]}, 'got -1 at 3'),
        ({'labels': [0, 1.0, 2, 3]}, r'got 1\.0 at 1'),
        ({'labels': [True, 1, 2, 3]}, 'got True at 0'),
    ],
)
def test_wrong_content_is_refused(tmp_path, change, message):
    path = tmp_path / 'cifar-10-batches-py/test_batch'
    path.parent.mkdir()
    path.write_bytes(pickle.dumps({'data': planes(4, 0), 'labels': [0, 1, 2, 3], **change}, protocol=4))
    with pytest.raises(ValueError, match=f'(?s){path}.*{message}'):
        DMTCIFAR10(str(tmp_path), 'test')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({'labels': [0]}, r"must have the key 'data', got \['labels'\]"),
        ({'data': planes(1, 0), 'fine_labels': [0]}, r"must have the key 'labels', got \['data', 'fine_labels'\]"),
        ([1, 2], 'must hold a dict, got list'),
    ],
)
def test_wrong_structure_is_refused(tmp_path, content, message):
    path = tmp_path / 'cifar-10-batches-py/test_batch'
    path.parent.mkdir()
    path.write_bytes(pickle.dumps(content, protocol=4))
    with pytest.raises(ValueError, match=f'{path} {message}'):
        DMTCIFAR10(str(tmp_path), 'test')


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        ('data_batch_1/00003_cat 4', r"line 1: the label of 'data_batch_1/00003_cat' is 3, got '4'"),
        ('data_batch_1/00003_cat cat', "is 3, got 'cat'"),
        ('data_batch_1/00003_cat\ntest_batch/00000_dog', r"line 2: subset 'trainval' .* not 'test_batch/00000_dog'"),
        ('data_batch_1/00003_dog', "not 'data_batch_1/00003_dog'"),
        ('data_batch_1/00003_cat\ndata_batch_1/00003_cat 3', 'line 2: .* more than once'),
        ('data_batch_1/00003_cat 3 1', 'must be NAME or NAME LABEL, got'),
        ('\n', 'at least one image'),
    ],
)
def test_wrong_list_is_refused(cifar10, tmp_path, lines, message):
    path = tmp_path / 'list.txt'
    path.write_text(lines)
    with pytest.raises(ValueError, match=f'{path}.*{message}'):
        DMTCIFAR10(cifar10, 'trainval', ann_file='list.txt')


def test_missing_list_is_named(cifar10):
    with pytest.raises(FileNotFoundError, match=r'nothing\.txt'):
        DMTCIFAR10(cifar10, 'trainval', ann_file='nothing.txt')


def test_bad_arguments_are_refused_before_reading():
    with pytest.raises(ValueError, match=r"'train', 'val', 'trainval', 'test'.*got 'labeled'"):
        DMTCIFAR10('nowhere', 'labeled')
    for num_val in (0, -10, 15, 20.0, True):
        with pytest.raises(ValueError, match=f'num_val must be a positive multiple of 10, got {num_val}'):
            DMTCIFAR10('nowhere', 'train', num_val=num_val)
    with pytest.raises(ValueError, match='multiple of 100, got 20'):
        DMTCIFAR100('nowhere', 'train', num_val=20)


@pytest.mark.skipif(not REAL.is_dir(), reason='the small CIFAR-10 is not here (MMDMT_SHARED_DATA)')
@pytest.mark.parametrize(('subset', 'split', 'number'), [('trainval', 'train', 8000), ('test', 'test', 2000)])
def test_real_files_are_read_as_mmpretrain_reads_them(subset, split, number, monkeypatch):
    for attribute in ('train_list', 'test_list'):
        monkeypatch.setattr(CIFAR10, attribute, [[file, None] for file, _ in getattr(CIFAR10, attribute)])
    # These are not the official files: mmpretrain's checksums would refuse them.
    expected = CIFAR10(data_root=str(REAL), split=split, download=False, serialize_data=False).data_list
    dataset = DMTCIFAR10(str(REAL), subset)
    assert len(dataset) == len(expected) == number
    assert np.bincount(dataset.get_gt_labels()).tolist() == [number // 10] * 10
    assert [info['gt_label'] for info in dataset.data_list] == [info['gt_label'] for info in expected]
    for info, other in zip(dataset.data_list, expected, strict=True):
        np.testing.assert_array_equal(info['img'], other['img'])
    assert len(set(names(dataset))) == number


@pytest.mark.skipif(not REAL.is_dir(), reason='the small CIFAR-10 is not here (MMDMT_SHARED_DATA)')
def test_validation_images_of_the_real_files():
    val, train = DMTCIFAR10(str(REAL), 'val'), DMTCIFAR10(str(REAL), 'train')
    assert np.bincount(val.get_gt_labels()).tolist() == [20] * 10
    assert np.bincount(train.get_gt_labels()).tolist() == [780] * 10
    # A change of the choice changes every figure measured on it.
    assert names(val)[:3] == [
        'data_batch_1/00072_truck',
        'data_batch_1/00088_airplane',
        'data_batch_1/00104_automobile',
    ]

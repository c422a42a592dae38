from collections import Counter

import mmcv
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.registry import TRANSFORMS

from mmdmt.cls.transforms import PackDMTInputs

# What every operation draws its magnitude from, at magnitude 1 and at magnitude 10; None where it has none.
RANGES = {
    ('AutoContrast', None): None,
    ('Equalize', None): None,
    ('Invert', None): None,
    ('Rotate', None): (3, 30),
    ('Posterize', None): (8, 4),
    ('Solarize', None): (230, 0),
    ('SolarizeAdd', None): (11, 110),
    ('ColorTransform', None): (0.09, 0.9),
    ('Contrast', None): (0.09, 0.9),
    ('Brightness', None): (0.09, 0.9),
    ('Sharpness', None): (0.09, 0.9),
    ('Shear', 'horizontal'): (0.03, 0.3),
    ('Shear', 'vertical'): (0.03, 0.3),
    ('Translate', 'horizontal'): (0.03, 0.3),
    ('Translate', 'vertical'): (0.03, 0.3),
    ('Cutout', None): (2, 16),
}


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    np.random.seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture
def results():
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    return {'img': pixels, 'sample_idx': 7, 'img_path': 'a/b.png', 'flip': True}


def test_human_label(results):
    packed = TRANSFORMS.build({'type': 'PackDMTInputs'})({**results, 'gt_label': 3})
    assert set(packed) == {'inputs', 'data_samples'}
    assert packed['inputs'].dtype == torch.uint8
    assert torch.equal(packed['inputs'], torch.arange(60, dtype=torch.uint8).view(4, 5, 3).permute(2, 0, 1))
    sample = packed['data_samples']
    assert sample.gt_label.tolist() == [3]
    assert sample.gt_confidence.item() == 2.0
    assert (sample.gt_confidence.dtype, sample.gt_confidence.shape) == (torch.float32, ())
    assert 'true_label' not in sample


@pytest.mark.parametrize('confidence', [0.0, 0.25, 0.999999, 1.0])
def test_confidence_of_the_teacher(results, confidence):
    sample = PackDMTInputs()({**results, 'gt_label': 0, 'gt_confidence': confidence})['data_samples']
    assert sample.gt_label.tolist() == [0]
    assert sample.gt_confidence.item() == np.float32(confidence)
    assert (sample.gt_confidence.dtype, sample.gt_confidence.shape) == (torch.float32, ())


@pytest.mark.parametrize('known', [False, True])
def test_unlabeled_image(results, known):
    sample = PackDMTInputs()({**results, **({'true_label': 4} if known else {})})['data_samples']
    assert 'gt_label' not in sample
    assert 'gt_confidence' not in sample
    assert ('true_label' in sample.metainfo) == known
    assert sample.get('true_label') == (4 if known else None)
    # To be shown and to be counted, and never to be learned: no data field.
    assert 'true_label' not in sample.keys()  # noqa: SIM118
    assert (sample.sample_idx, sample.img_path, sample.flip) == (7, 'a/b.png', True)


def test_confidence_without_a_label_is_left_out(results):
    assert 'gt_confidence' not in PackDMTInputs()({**results, 'gt_confidence': 0.5})['data_samples']


def test_own_meta_keys(results):
    packed = TRANSFORMS.build({'type': 'PackDMTInputs', 'meta_keys': ['sample_idx', 'ink']})
    sample = packed({**results, 'ink': 'blue', 'true_label': 1})['data_samples']
    assert sample.metainfo == {'sample_idx': 7, 'ink': 'blue', 'true_label': 1}


@pytest.fixture
def pipeline(root):
    return Config.fromfile(root / 'configs/_base_/datasets/cifar10.py').train_pipeline


@pytest.fixture
def augment(pipeline):
    (config,) = [step for step in pipeline if step['type'] == 'RandAugment']
    return TRANSFORMS.build(config)


@pytest.fixture
def drawn(augment):
    """Operations that drew a magnitude, in order, and that magnitude."""
    calls = []

    def watch(operation):
        draw = operation.random_magnitude

        def record():
            calls.append((operation, draw()))
            return calls[-1][1]

        operation.random_magnitude = record

    for operation in augment.transforms:
        watch(operation)
    return calls


def key_of(operation):
    return type(operation).__name__, getattr(operation, 'direction', None)


def random_image():
    return np.random.randint(0, 256, (32, 32, 3), dtype=np.uint8)


def test_an_image_gets_one_of_16_operations(augment, monkeypatch):
    applied = []
    for operation in augment.transforms:
        transform = operation.transform
        monkeypatch.setattr(
            operation, 'transform', lambda image, one=operation, do=transform: applied.append(one) or do(image)
        )
    assert [key_of(operation) for operation in augment.transforms] == list(RANGES)
    counts = Counter()
    for _ in range(800):
        applied.clear()
        image = random_image()
        result = augment({'img': image.copy()})['img']
        assert (result.shape, result.dtype) == ((32, 32, 3), np.uint8)
        (operation,) = applied
        counts[key_of(operation)] += 1
    # 50 each on average, with a standard deviation of 7
    assert set(counts) == set(RANGES)
    assert 20 < min(counts.values()) <= max(counts.values()) < 80


def test_no_operation_is_skipped(augment):
    for operation in augment.transforms:
        assert not any(operation.random_disable() for _ in range(50))


@pytest.mark.parametrize('key', [key for key, ends in RANGES.items() if ends is not None])
def test_magnitudes_fill_their_range(augment, drawn, key):
    (operation,) = [one for one in augment.transforms if key_of(one) == key]
    for _ in range(200):
        operation({'img': random_image()})
    magnitudes = [magnitude for one, magnitude in drawn if one is operation]
    assert len(magnitudes) == len(drawn) == 200
    low, high = sorted(RANGES[key])
    share = (high - low) / 20
    assert low <= min(magnitudes) < low + share
    assert high - share < max(magnitudes) <= high


@pytest.mark.parametrize('key', [key for key, ends in RANGES.items() if ends is None])
def test_operations_without_magnitude(augment, drawn, key):
    (operation,) = [one for one in augment.transforms if key_of(one) == key]
    image = random_image() // 2 + 20
    expected = {'AutoContrast': mmcv.auto_contrast, 'Equalize': mmcv.imequalize, 'Invert': lambda image: 255 - image}
    np.testing.assert_array_equal(operation({'img': image.copy()})['img'], expected[key[0]](image))
    assert not drawn


def test_cutout_is_a_gray_square_of_2_to_16_pixels(augment):
    (cutout,) = [one for one in augment.transforms if key_of(one) == ('Cutout', None)]
    sides = set()
    for _ in range(200):
        changed = (cutout({'img': np.zeros((32, 32, 3), np.uint8)})['img'] == 128).all(-1)
        rows, columns = changed.any(1), changed.any(0)
        assert changed.sum() == rows.sum() * columns.sum()
        sides.update((int(rows.sum()), int(columns.sum())))
    # A square is cut where it reaches over the border.
    assert max(sides) in (15, 16)
    assert min(sides) <= 2


def test_training_pipeline(pipeline):
    transforms = [TRANSFORMS.build(step) for step in pipeline]
    shown = set()
    for index in range(40):
        results = {'img': random_image(), 'gt_label': 1, 'sample_idx': index, 'img_path': str(index)}
        for transform in transforms:
            results = transform(results)
        assert (results['inputs'].shape, results['inputs'].dtype) == ((3, 32, 32), torch.uint8)
        sample = results['data_samples']
        assert (sample.sample_idx, sample.gt_label.tolist(), sample.gt_confidence.item()) == (index, [1], 2.0)
        shown.add(sample.flip)
    assert shown == {False, True}

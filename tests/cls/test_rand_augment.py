from collections import Counter

import mmcv
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.registry import TRANSFORMS

from mmdmt.cls.rand_augment import SmallImageRandAugment
from mmdmt.engine.plan import RunPlan
from mmdmt.errors import UserError

# The mild magnitudes at levels 1 and 10; None for operations without.
MILD = {
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


# The published magnitudes at levels 1, 4 and 10, by hand. An enhancement factor is 1 plus the magnitude. A translation
# is a share of 32 pixels.
PUBLISHED = {
    ('AutoContrast', None): None,
    ('Equalize', None): None,
    ('Invert', None): None,
    ('Rotate', None): (3, 12, 30),
    ('PosterizeToFewBits', None): (1, 1, 4),
    ('Solarize', None): (25.6, 102.4, 256),
    ('AddAndSolarize', None): (11, 44, 110),
    ('ColorTransform', None): (0.28 - 1, 0.82 - 1, 1.9 - 1),
    ('Contrast', None): (0.28 - 1, 0.82 - 1, 1.9 - 1),
    ('Brightness', None): (0.28 - 1, 0.82 - 1, 1.9 - 1),
    ('Sharpness', None): (0.28 - 1, 0.82 - 1, 1.9 - 1),
    ('Shear', 'horizontal'): (0.03, 0.12, 0.3),
    ('Shear', 'vertical'): (0.03, 0.12, 0.3),
    ('Cutout', None): (4, 16, 40),
    ('Translate', 'horizontal'): (10 / 32, 40 / 32, 100 / 32),
    ('Translate', 'vertical'): (10 / 32, 40 / 32, 100 / 32),
}


DIRECTIONS = ('horizontal', 'vertical')


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    np.random.seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture
def mild():
    return SmallImageRandAugment('mild')


@pytest.fixture
def published():
    """``published(level)``: operations by type and direction, at a level."""

    def published(level):
        augment = SmallImageRandAugment()
        for operation in augment.transforms:
            operation.magnitude_level = level
        return {key_of(operation): operation for operation in augment.transforms}

    return published


@pytest.fixture
def drawn(mild):
    """Operations that drew a magnitude, in order, and that magnitude."""
    calls = []

    def watch(operation):
        draw = operation.random_magnitude

        def record():
            calls.append((operation, draw()))
            return calls[-1][1]

        operation.random_magnitude = record

    for operation in mild.transforms:
        watch(operation)
    return calls


def key_of(operation):
    return type(operation).__name__, getattr(operation, 'direction', None)


def random_image():
    return np.random.randint(0, 256, (32, 32, 3), dtype=np.uint8)


def test_an_image_gets_one_of_16_operations(mild, monkeypatch):
    applied = []
    for operation in mild.transforms:
        transform = operation.transform
        monkeypatch.setattr(
            operation, 'transform', lambda image, one=operation, do=transform: applied.append(one) or do(image)
        )
    assert [key_of(operation) for operation in mild.transforms] == list(MILD)
    counts = Counter()
    for _ in range(800):
        applied.clear()
        image = random_image()
        result = mild({'img': image.copy()})['img']
        assert (result.shape, result.dtype) == ((32, 32, 3), np.uint8)
        (operation,) = applied
        counts[key_of(operation)] += 1
    # 50 each on average, with a standard deviation of 7
    assert set(counts) == set(MILD)
    assert 20 < min(counts.values()) <= max(counts.values()) < 80


def test_no_operation_is_skipped(mild):
    for operation in mild.transforms:
        assert not any(operation.random_disable() for _ in range(50))


@pytest.mark.parametrize('key', [key for key, ends in MILD.items() if ends is not None])
def test_magnitudes_fill_their_range(mild, drawn, key):
    (operation,) = [one for one in mild.transforms if key_of(one) == key]
    for _ in range(200):
        operation({'img': random_image()})
    magnitudes = [magnitude for one, magnitude in drawn if one is operation]
    assert len(magnitudes) == len(drawn) == 200
    low, high = sorted(MILD[key])
    share = (high - low) / 20
    assert low <= min(magnitudes) < low + share
    assert high - share < max(magnitudes) <= high


@pytest.mark.parametrize('key', [key for key, ends in MILD.items() if ends is None])
def test_operations_without_magnitude(mild, drawn, key):
    (operation,) = [one for one in mild.transforms if key_of(one) == key]
    image = random_image() // 2 + 20
    expected = {'AutoContrast': mmcv.auto_contrast, 'Equalize': mmcv.imequalize, 'Invert': lambda image: 255 - image}
    np.testing.assert_array_equal(operation({'img': image.copy()})['img'], expected[key[0]](image))
    assert not drawn


def test_cutout_is_a_gray_square_of_2_to_16_pixels(mild):
    (cutout,) = [one for one in mild.transforms if key_of(one) == ('Cutout', None)]
    sides = set()
    for _ in range(200):
        changed = (cutout({'img': np.zeros((32, 32, 3), np.uint8)})['img'] == 128).all(-1)
        rows, columns = changed.any(1), changed.any(0)
        assert changed.sum() == rows.sum() * columns.sum()
        sides.update((int(rows.sum()), int(columns.sum())))
    # A square is cut where it reaches over the border.
    assert max(sides) in (15, 16)
    assert min(sides) <= 2


def test_published_magnitudes(published):
    assert list(published(1)) == list(PUBLISHED)
    for column, level in enumerate((1, 4, 10)):
        for key, operation in published(level).items():
            if PUBLISHED[key] is not None:
                assert operation.random_magnitude() == pytest.approx(PUBLISHED[key][column])


def test_bits_by_level(published):
    bits = [published(level)['PosterizeToFewBits', None].random_magnitude() for level in range(1, 11)]
    assert bits == [1, 1, 1, 1, 2, 2, 2, 3, 3, 4]
    image = np.array([[[0, 127, 128], [191, 192, 255]]], np.uint8)
    assert published(4)['PosterizeToFewBits', None]({'img': image})['img'].tolist() == [[[0, 0, 128], [128, 128, 128]]]


def test_values_are_added_before_they_are_inverted(published):
    """At level 3, 33 is added: 255 - 133 = 122."""
    image = np.array([[[0, 94, 95], [100, 200, 250]]], np.uint8)
    changed = published(3)['AddAndSolarize', None]({'img': image})['img']
    assert (changed.tolist(), changed.dtype) == ([[[33, 127, 127], [122, 22, 0]]], np.uint8)
    assert image.tolist() == [[[0, 94, 95], [100, 200, 250]]]


def test_what_leaves_the_image_is_black(published):
    white = np.full((32, 32, 3), 255, np.uint8)
    for name, direction in (('Rotate', None), *((kind, way) for kind in ('Shear', 'Translate') for way in DIRECTIONS)):
        changed = published(3)[name, direction]({'img': white.copy()})['img']
        assert set(np.unique(changed)) == {0, 255}  # no colors between them, so the nearest pixel is taken
        assert (changed == changed[..., :1]).all()
    assert int((published(1)['Translate', 'vertical']({'img': white.copy()})['img'] == 0).all((1, 2)).sum()) == 10
    assert not published(4)['Translate', 'horizontal']({'img': white.copy()})['img'].any()


def test_published_cutout_has_the_color_of_the_mean(published):
    changed = published(2)['Cutout', None]({'img': np.zeros((32, 32, 3), np.uint8)})['img']
    assert {tuple(color) for color in changed.reshape(-1, 3).tolist()} == {(0, 0, 0), (125, 123, 114)}


def test_all_levels_are_drawn_and_one_in_eleven_images_is_blank():
    """Translations: 14 of 160. Cutouts over the whole image: 1.1 of 160."""
    augment, levels, blank = SmallImageRandAugment(), Counter(), 0
    for _ in range(3000):
        changed = augment({'img': random_image()})['img']
        levels[augment.transforms[0].magnitude_level] += 1
        blank += bool((changed == changed[0, 0]).all())
    # 300 each on average, with a standard deviation of 16; 282 blank images, with one of 16
    assert set(levels) == set(range(1, 11))
    assert 230 < min(levels.values()) <= max(levels.values()) < 370
    assert 215 < blank < 350


def test_unknown_ranges():
    with pytest.raises(UserError, match=r"ranges must be one of published, mild, got 'strong'"):
        SmallImageRandAugment('strong')


@pytest.mark.parametrize(
    ('name', 'fill', 'ranges'), [('wrn28-2_cifar10_4000', 128, 'published'), ('wrn10-1_cifar10_400', 0, 'mild')]
)
def test_training_pipeline(root, name, fill, ranges):
    cfg = Config.fromfile(root / f'configs/dmt/{name}.py')
    assert cfg.dmt.labeled.pipeline == cfg.dmt.unlabeled.pipeline == cfg.train_dataloader.dataset.pipeline
    transforms = [TRANSFORMS.build(step) for step in RunPlan.of(cfg).settings.labeled['pipeline']]
    assert transforms[2].ranges == ranges
    shown, colors = set(), set()
    for index in range(40):
        white = np.full((32, 32, 3), 255, np.uint8)
        colors.update(map(tuple, transforms[0]({'img': white})['img'].reshape(-1, 3).tolist()))
        results = {'img': random_image(), 'gt_label': 1, 'sample_idx': index, 'img_path': str(index)}
        for transform in transforms:
            results = transform(results)
        assert (results['inputs'].shape, results['inputs'].dtype) == ((3, 32, 32), torch.uint8)
        sample = results['data_samples']
        assert (sample.sample_idx, sample.gt_label.tolist(), sample.gt_confidence.item()) == (index, [1], 2.0)
        shown.add(sample.flip)
    assert shown == {False, True}
    assert colors == {(255, 255, 255), (fill, fill, fill)}


@pytest.mark.parametrize('name', ['oracle_wrn28-2_cifar10', 'oracle_wrn10-1_cifar10'])
def test_baseline_and_oracle_augment_as_dmt(root, name):
    dmt = {'oracle_wrn28-2_cifar10': 'wrn28-2_cifar10_4000', 'oracle_wrn10-1_cifar10': 'wrn10-1_cifar10_400'}[name]
    pipeline = Config.fromfile(root / f'configs/baselines/{name}.py').train_dataloader.dataset.pipeline
    assert pipeline == Config.fromfile(root / f'configs/dmt/{dmt}.py').dmt.labeled.pipeline

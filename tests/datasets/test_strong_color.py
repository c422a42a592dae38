import numpy as np
import pytest
import torch

from mmdmt.datasets.strong_color import StrongColor


@pytest.fixture(autouse=True)
def seed():
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def apply(image, **arguments):
    before = image.copy()
    found = StrongColor(**arguments)(dict(img=image))['img']
    assert np.array_equal(image, before)  # the other views share it
    assert (found.shape, found.dtype) == (image.shape, np.uint8)
    return found


def test_no_change(image):
    assert np.array_equal(apply(image, jitter_prob=0.0, gray_prob=0.0, blur_prob=0.0), image)


def test_gray(image):
    found = apply(image, jitter_prob=0.0, gray_prob=1.0, blur_prob=0.0)
    assert (found == found[..., :1]).all()
    expected = image @ np.array([0.114, 0.587, 0.299])  # BGR
    assert np.abs(found[..., 0] - expected).max() <= 1


def test_blur_smooths_and_keeps_the_mean(image):
    found = apply(image, jitter_prob=0.0, gray_prob=0.0, blur_prob=1.0, sigma=(2.0, 2.0))
    assert found.std() < image.std() / 2
    assert abs(found.mean() - image.mean()) < 3


def test_jitter_of_brightness_multiplies(image):
    found = apply(image, jitter=(0.5, 0.0, 0.0, 0.0), jitter_prob=1.0, gray_prob=0.0, blur_prob=0.0)
    dark = image < 100
    factors = found[dark & (image > 50)] / image[dark & (image > 50)]
    assert factors.std() < 0.02
    assert 0.5 <= factors.mean() <= 1.5
    assert abs(factors.mean() - 1) > 0.01


def test_channels_are_not_swapped():
    blue = np.zeros((4, 4, 3), np.uint8)
    blue[..., 0] = 200
    found = apply(blue, jitter=(0.1, 0.0, 0.0, 0.0), jitter_prob=1.0, gray_prob=0.0, blur_prob=0.0)
    assert found[..., 0].min() > 150
    assert found[..., 1:].max() == 0


def test_probabilities_are_those_of_the_paper():
    color = StrongColor()
    changed = [not np.array_equal(color(dict(img=image))['img'], image)
               for image in np.random.default_rng(1).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)]  # fmt: skip
    assert np.mean(changed) > 0.8  # 1 - 0.2 * 0.8 * 0.5 = 0.92
    assert color.probs == (0.8, 0.2, 0.5)


@pytest.mark.parametrize('name', ['jitter_prob', 'gray_prob', 'blur_prob'])
def test_probability_outside_its_range(name):
    with pytest.raises(ValueError, match=rf'^StrongColor: {name}=1.5 must be in \[0, 1\]$'):
        StrongColor(**{name: 1.5})

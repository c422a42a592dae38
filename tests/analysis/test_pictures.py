import io

import numpy as np
import pytest
from PIL import Image

from mmdmt.analysis import pictures
from mmdmt.analysis.pictures import class_picture, media_type, overlay, palette_of, photo, weight_picture

COLORS = [(10, 20, 30), (200, 0, 0)]


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert('RGB')).tolist()


def test_class_map_has_the_colors_of_the_classes_and_white_where_ignored():
    assert pixels(class_picture(np.array([[0, 1, 255]]), COLORS)) == [[[10, 20, 30], [200, 0, 0], [255, 255, 255]]]


def test_weights_go_from_dark_to_bright_and_are_white_where_ignored():
    ((low, high, ignored),) = pixels(weight_picture(np.array([[0.0, 1.0, 1.0]]), np.array([[0, 1, 255]])))
    assert sum(low) < 200 < 400 < sum(high)
    assert low[2] > low[0]  # viridis begins with violet and ends with yellow
    assert high[0] > high[2]
    assert ignored == [255, 255, 255]


def test_palette_of_the_data_set_is_kept():
    given = [[128, 64, 128], [244, 35, 232]]
    assert palette_of(given, 2) == [(128, 64, 128), (244, 35, 232)]


@pytest.mark.parametrize('given', [None, [], [[255, 255, 255]] * 150, [[1, 1, 1]] * 200])
@pytest.mark.parametrize('number', [2, 12, 19, 150])
def test_default_colors_are_all_different_and_none_is_white(given, number):
    colors = palette_of(given, number)
    assert len(set(colors)) == number
    assert (255, 255, 255) not in colors
    assert all(0 <= channel <= 255 for color in colors for channel in color)


def test_large_pictures_are_reduced():
    for content in (
        class_picture(np.zeros((100, 480), np.uint8), COLORS),
        weight_picture(np.zeros((100, 480)), np.zeros((100, 480), np.uint8)),
        photo(np.zeros((100, 480, 3), np.uint8)),
    ):
        assert Image.open(io.BytesIO(content)).size == (240, 50)


def test_small_images_are_exact():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert media_type(photo(image)) == 'image/png'
    assert pixels(photo(image)) == image.tolist()
    assert media_type(photo(np.zeros((80, 80, 3), np.uint8))) == 'image/jpeg'


def test_overlay_mixes_and_leaves_ignored_pixels():
    image = np.full((1, 3, 3), 100, np.uint8)
    assert overlay(image, np.array([[0, 1, 255]]), COLORS, 0.5).tolist() == [[[55, 60, 65], [150, 50, 50], [100] * 3]]


def test_store(tmp_path):
    content = class_picture(np.array([[0]]), COLORS)
    pictures.store(tmp_path / 'new', 'a.b', content)
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['a.b.png']
    assert pictures.stored(tmp_path / 'new', 'a.b') == content
    assert pictures.stored(tmp_path / 'new', 'c') is None

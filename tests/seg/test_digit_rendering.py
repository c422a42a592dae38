"""The parts of a scene; what whole scenes look like is in test_digits.py."""

import numpy as np
import pytest

from mmdmt.datasets.handwritten_digits import load_digits
from mmdmt.seg import digit_rendering
from mmdmt.seg.digit_rendering import SCENE_SIZE, render_scene


def generator(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


@pytest.mark.parametrize(('split', 'index'), [('train', 0), ('val', 199)])
def test_scene(split, index):
    scene = render_scene(split, index)
    assert (scene.image.shape, scene.image.dtype) == ((64, 64, 3), np.uint8)
    assert (scene.mask.shape, scene.mask.dtype) == ((64, 64), np.uint8)
    # Digits are brighter than what they are painted on.
    assert scene.image[(scene.mask > 0) & (scene.mask < 255)].mean() > scene.image[scene.mask == 0].mean() + 20


@pytest.mark.parametrize(('split', 'index'), [('train', -1), ('train', 640), ('val', -1), ('val', 200)])
def test_scene_outside_of_its_split(split, index):
    last = {'train': 639, 'val': 199}[split]
    with pytest.raises(IndexError, match=f'^{split} has scenes 0 to {last}, got {index}$'):
        render_scene(split, index)


def test_things_are_placed_apart():
    """Each with two free pixels around it, until there is no place left."""
    taken, ink, rng = np.zeros((SCENE_SIZE, SCENE_SIZE), bool), np.full((20, 10), 7), generator()
    placed = []
    while (scene := digit_rendering._place(rng, ink, taken)) is not None:
        rows, columns = np.nonzero(scene)
        assert (scene.shape, scene.sum()) == ((64, 64), 20 * 10 * 7)
        assert (np.ptp(rows), np.ptp(columns)) == (19, 9)
        placed.append((rows.min(), columns.min()))
        assert len(placed) < 12
    assert len(placed) > 4
    for number, (top, left) in enumerate(placed):
        for other_top, other_left in placed[:number]:
            assert abs(top - other_top) >= 22 or abs(left - other_left) >= 12


def test_no_place_in_a_full_scene():
    taken = np.ones((SCENE_SIZE, SCENE_SIZE), bool)
    assert digit_rendering._place(generator(), np.ones((1, 1), int), taken) is None


def test_ink_is_painted_in_proportion_and_one_color():
    image, ink = np.full((64, 64, 3), 40), np.zeros((64, 64), int)
    ink[0, :3] = 16, 8, 0
    digit_rendering._blend(image, ink, generator(), (100, 101))
    full = image[0, 0] - 40
    assert ((full >= 75) & (full <= 125)).all()
    assert len(set(full)) > 1  # a tint
    assert image[0, 1].tolist() == (40 + full // 2).tolist()
    assert (image[0, 2:] == 40).all()
    assert (image[1:] == 40).all()


@pytest.mark.parametrize('is_fragment', [False, True])
def test_a_fragment_is_half_of_a_digit(is_fragment):
    for seed in range(20):
        ink = digit_rendering._handwriting(generator(seed), 0, is_fragment)
        height, width = ink.shape
        assert (9 <= height <= 10) if is_fragment else (19 <= height <= 21)
        assert 19 <= width <= 21
        assert ink.min() >= 0
        assert 10 < ink.max() <= load_digits()[0][0].max()


def test_a_line_is_as_thick_as_a_stroke():
    for seed in range(20):
        ink = digit_rendering._line(generator(seed))
        assert set(np.unique(ink)) <= {0, 16}
        # As long as its step, at most 24 in each direction, and at most 2 pixels to each side.
        assert 0 < (ink > 0).sum() <= 6 * (np.hypot(24, 24) + 1)


def test_a_label_is_not_made_ambiguous_by_another():
    mask, first, second = (np.zeros((64, 64), int) for _ in range(3))
    mask = mask.astype(np.uint8)
    first[30, 30] = second[30, 35] = 16  # the strokes reach two pixels, the border one more
    digit_rendering._label(mask, first, class_index=3)
    digit_rendering._label(mask, second, class_index=5)
    assert mask[30, 26:40].tolist() == [0, 255, 3, 3, 3, 3, 3, 5, 5, 5, 5, 5, 255, 0]


def test_faint_ink_has_no_label():
    mask, ink = np.zeros((64, 64), np.uint8), np.zeros((64, 64), int)
    ink[10, 10], ink[40, 40] = 5, 6
    digit_rendering._label(mask, ink, class_index=1)
    assert mask[10, 10] == 0
    assert mask[40, 40] == 1

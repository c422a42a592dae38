import numpy as np
import pytest
import torch

from mmdmt.core.cutmix import Paste, draw_pastes, paste


@pytest.fixture(autouse=True)
def seed():
    np.random.seed(0)


def extent(part):
    return part.stop - part.start


def test_every_image_gets_one_rectangle_of_another():
    for _ in range(50):
        pastes = draw_pastes([1, 2, 4, 7], 40, 60, area=0.3)
        assert sorted(item.target for item in pastes) == sorted(item.source for item in pastes) == [1, 2, 4, 7]
        assert all(item.target != item.source for item in pastes)


@pytest.mark.parametrize('area', [0.05, 0.5, 0.95])
def test_rectangles_have_the_area_and_lie_inside(area):
    shares = []
    for _ in range(300):
        for _, _, rows, columns in draw_pastes([0, 1], 400, 300, area):
            assert 0 <= rows.start < rows.stop <= 400
            assert 0 <= columns.start < columns.stop <= 300
            assert extent(rows) * extent(columns) == pytest.approx(area * 400 * 300, rel=0.04)
            shares.append(extent(rows) / 400)
    # From bars of full width to bars of full height, as often lower as higher than the square of this area.
    assert area - 0.01 <= min(shares) < area + 0.1 * (1 - area)
    assert 1 - 0.1 * (1 - area) < max(shares) <= 1
    assert np.median(shares) == pytest.approx(area**0.5, abs=0.06)


def test_rectangles_reach_every_place():
    covered = np.zeros((12, 9))
    for _ in range(400):
        covered[draw_pastes([0, 1], 12, 9, area=0.1)[0][2:]] += 1
    assert covered.min() > 0
    assert covered.max() < 4 * covered.mean()


def test_pairs_change():
    assert len({tuple(item[:2] for item in sorted(draw_pastes(range(4), 8, 8, 0.5))) for _ in range(40)}) > 4


def test_prob():
    number = sum(len(draw_pastes(range(8), 8, 8, 0.5, prob=0.25)) for _ in range(400))
    assert number / 3200 == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize('images', [[], [3]])
def test_a_single_image_has_no_partner(images):
    assert draw_pastes(images, 8, 8, 0.5) == []


def test_smallest_images():
    assert [item[2:] for item in draw_pastes([0, 1], 1, 1, 0.1)] == [(slice(0, 1), slice(0, 1))] * 2


@pytest.mark.parametrize('channels', [(), (1,), (3,)])
def test_paste_is_a_slow_loop(channels):
    values = torch.randn(4, *channels, 6, 5)
    before = values.clone()
    pastes = [Paste(0, 2, slice(1, 4), slice(0, 5)), Paste(2, 0, slice(0, 6), slice(2, 3))]
    expected = before.clone()
    for target, source, rows, columns in pastes:
        for row in range(rows.start, rows.stop):
            for column in range(columns.start, columns.stop):
                expected[target, ..., row, column] = before[source, ..., row, column]
    assert torch.equal(paste(values, pastes), expected)
    assert torch.equal(values, before)

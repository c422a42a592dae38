import math

import numpy as np
import pytest
import torch

from mmdmt.core.cutmix import draw_boxes, draw_small_boxes, mix_boxes


@pytest.fixture(autouse=True)
def seed():
    np.random.seed(0)


def is_rectangle(mask):
    return mask.any(0).sum() * mask.any(1).sum() == mask.sum()


@pytest.mark.parametrize('share', [0.05, 0.5, 0.95])
def test_one_box_has_its_share_and_is_a_rectangle_inside(share):
    masks = draw_boxes(300, 400, 300, (share, share))
    shares = masks.float().mean((1, 2))
    assert all(is_rectangle(mask) for mask in masks)
    assert (shares - share).abs().max() < 0.02
    heights = masks.any(2).sum(1) / 400
    # Log-uniform between the share and 1: half of the heights exceed sqrt(share).
    assert abs((heights > math.sqrt(share)).float().mean() - 0.5) < 0.1
    for side in (masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1]):
        assert 0 < side.any(1).float().mean() < 1


def test_several_boxes_combine_by_xor():
    masks = draw_boxes(400, 60, 80, (0.25, 0.5), boxes=3)
    shares = masks.float().mean((1, 2))
    assert sum(not is_rectangle(mask) for mask in masks) > 300
    # Three boxes of a third of 0.375 each, less what overlaps.
    assert 0.25 < shares.mean() < 0.375
    assert shares.max() < 0.55


def test_small_boxes_by_their_range():
    masks = draw_small_boxes(2000, 100, 150)
    there = masks.flatten(1).any(1)
    assert abs(there.float().mean() - 0.5) < 0.04
    boxes = masks[there]
    assert all(is_rectangle(mask) for mask in boxes)
    shares = boxes.float().mean((1, 2))
    assert 0.015 < shares.min() < 0.05
    assert 0.25 < shares.max() < 0.42
    ratios = boxes.any(2).sum(1) / boxes.any(1).sum(1)
    assert 0.28 < ratios.min() < 0.5
    assert 1.5 < ratios.max() < 3.6


def test_no_box_and_always_a_box():
    assert not draw_small_boxes(5, 8, 8, prob=0.0).any()
    assert draw_small_boxes(5, 8, 8, prob=1.0).flatten(1).any(1).all()


def test_mix_by_hand():
    values, mask = torch.arange(4).view(1, 2, 2), torch.tensor([[[True, False], [False, True]]])
    assert mix_boxes(values, -values - 1, mask).tolist() == [[[-1, 1], [2, -4]]]
    images = values[None].expand(1, 3, 2, 2)
    assert mix_boxes(images, -images - 1, mask)[0, 2].tolist() == [[-1, 1], [2, -4]]


def test_the_same_seed_gives_the_same_boxes():
    first = draw_boxes(3, 20, 30, boxes=2), draw_small_boxes(3, 20, 30)
    np.random.seed(0)
    second = draw_boxes(3, 20, 30, boxes=2), draw_small_boxes(3, 20, 30)
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))

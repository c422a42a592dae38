from itertools import islice

import pytest
from mmengine.registry import DATA_SAMPLERS

from mmdmt.datasets import PassSampler, pass_sampler

SIZE = 7


@pytest.fixture
def set_rank(monkeypatch):
    return lambda rank, world_size: monkeypatch.setattr(pass_sampler, 'get_dist_info', lambda: (rank, world_size))


def draw(count, seed=1, skipped=0):
    source = DATA_SAMPLERS.build(dict(type='PassSampler', seed=seed), default_args=dict(dataset=range(SIZE)))
    source.skip(skipped)
    return list(islice(source, count))


def test_each_pass_draws_all_images_in_another_order():
    indices = draw(4 * SIZE)
    passes = [indices[start : start + SIZE] for start in range(0, len(indices), SIZE)]
    assert all(sorted(one) == list(range(SIZE)) for one in passes)
    assert len({tuple(one) for one in passes}) == 4
    assert [index.turn for index in indices] == [0] * SIZE + [1] * SIZE + [2] * SIZE + [3] * SIZE


@pytest.mark.parametrize('world_size', [2, 4])
def test_101_images_on_several_processes(set_rank, world_size):
    """Each pass shows each image once, though it ends within a step."""
    streams = []
    for rank in range(world_size):
        set_rank(rank, world_size)
        streams.append(list(islice(PassSampler(range(101), seed=1), 101)))
    shown = [index for step in zip(*streams, strict=True) for index in step]
    for turn in range(world_size):
        assert sorted(shown[turn * 101 : (turn + 1) * 101]) == list(range(101))


def test_order_depends_on_the_seed():
    assert draw(30) == draw(30)
    assert draw(30) != draw(30, seed=2)


@pytest.mark.parametrize('skipped', [0, 1, 6, 7, 8, 100])
def test_skip(skipped):
    uninterrupted = draw(130)
    found = draw(30, skipped=skipped)
    assert found == uninterrupted[skipped : skipped + 30]
    assert [index.turn for index in found] == [index.turn for index in uninterrupted[skipped : skipped + 30]]


def test_ranks_take_turns(set_rank):
    alone = draw(40)
    for rank in range(2):
        set_rank(rank, 2)
        assert draw(20) == alone[rank::2]
        assert len(PassSampler(range(SIZE), seed=1)) == 4


def test_seed_is_drawn_if_not_given(monkeypatch):
    monkeypatch.setattr(pass_sampler, 'sync_random_seed', lambda: 77)
    assert draw(30, seed=None) == draw(30, seed=77)

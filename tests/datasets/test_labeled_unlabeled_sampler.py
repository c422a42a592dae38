from collections import Counter
from itertools import islice

import pytest
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner.loops import _InfiniteDataloaderIterator
from torch.utils.data import ConcatDataset, DataLoader

from mmdmt.datasets import LabeledUnlabeledSampler, pass_sampler

LABELED, UNLABELED = 6, 20


@pytest.fixture
def set_rank(monkeypatch):
    def set_rank(rank, world_size):
        monkeypatch.setattr(pass_sampler, 'get_dist_info', lambda: (rank, world_size))

    return set_rank


def sampler(labeled=2, unlabeled=5, seed=1, sizes=(LABELED, UNLABELED)):
    dataset = ConcatDataset([range(sizes[0]), range(sizes[0], sum(sizes))])
    config = {'type': 'LabeledUnlabeledSampler', 'labeled': labeled, 'unlabeled': unlabeled, 'seed': seed}
    return DATA_SAMPLERS.build(config, default_args={'dataset': dataset})


def draw(source, count):
    return list(islice(source, count))


def batches(source, count, size):
    indices = draw(source, count * size)
    return [indices[start : start + size] for start in range(0, len(indices), size)]


@pytest.mark.parametrize(('labeled', 'unlabeled'), [(1, 7), (2, 5), (4, 4), (9, 3)])
def test_batch_composition(labeled, unlabeled):
    for batch in batches(sampler(labeled, unlabeled), 30, labeled + unlabeled):
        assert all(index < LABELED for index in batch[:labeled])
        assert all(LABELED <= index < LABELED + UNLABELED for index in batch[labeled:])


def test_epoch_is_one_pass_over_the_unlabeled_images():
    source = sampler()
    assert len(source) == 4 * 7
    indices = draw(source, 3 * len(source))
    passes = [indices[start : start + len(source)] for start in range(0, len(indices), len(source))]
    unlabeled = [[index for index in one if index >= LABELED] for one in passes]
    for one in unlabeled:
        assert sorted(one) == list(range(LABELED, LABELED + UNLABELED))
    assert len({tuple(one) for one in unlabeled}) == 3  # shuffled anew


@pytest.mark.parametrize('sizes', [(6, 20), (7, 19), (2, 3), (1, 1)])
def test_both_parts_cycle_evenly(sizes):
    counts = Counter()
    for number, batch in enumerate(batches(sampler(sizes=sizes), 60, 7), start=1):
        counts.update(batch)
        for part, per_batch in ((range(sizes[0]), 2), (range(sizes[0], sum(sizes)), 5)):
            seen = [counts[index] for index in part]
            assert sum(seen) == number * per_batch
            assert max(seen) - min(seen) <= 1


@pytest.mark.parametrize(('unlabeled', 'length'), [(1, 7), (5, 7), (6, 14), (10, 14), (11, 21)])
def test_length_covers_the_unlabeled_images(unlabeled, length):
    source = sampler(sizes=(3, unlabeled))
    assert len(source) == length
    assert {index for index in draw(source, length) if index >= 3} == set(range(3, 3 + unlabeled))


def test_order_depends_on_the_seed_alone():
    assert draw(sampler(seed=3), 100) == draw(sampler(seed=3), 100)
    assert draw(sampler(seed=3), 100) != draw(sampler(seed=4), 100)
    source = sampler()
    assert draw(source, 100) == draw(source, 100)


def test_parts_of_equal_size_are_shuffled_differently():
    indices = draw(sampler(1, 1, sizes=(12, 12)), 24)
    assert indices[::2] != [index - 12 for index in indices[1::2]]


def test_seed_is_drawn_if_not_given(monkeypatch):
    monkeypatch.setattr(pass_sampler, 'sync_random_seed', lambda: 77)
    assert draw(sampler(seed=None), 60) == draw(sampler(seed=77), 60)


@pytest.mark.parametrize('skipped', [0, 1, 2, 6, 7, 13, 28, 29, 280, 1001])
def test_skip_goes_on_where_an_uninterrupted_run_is(skipped):
    uninterrupted = draw(sampler(), 1100)
    resumed = sampler()
    resumed.skip(skipped)
    assert draw(resumed, 90) == uninterrupted[skipped : skipped + 90]


def test_mmengine_fast_forwards_with_skip():
    def loader():
        source = sampler()
        return _InfiniteDataloaderIterator(DataLoader(source_dataset(), batch_size=7, sampler=source))

    def source_dataset():
        return ConcatDataset([range(LABELED), range(LABELED, LABELED + UNLABELED)])

    uninterrupted = [batch.tolist() for batch in islice(loader(), 12)]
    assert uninterrupted == batches(sampler(), 12, 7)
    resumed = loader()
    if hasattr(resumed, 'skip_iter'):
        resumed.skip_iter(5)
    else:  # the original mmengine reads what it skips
        list(islice(resumed, 5))
    assert [batch.tolist() for batch in islice(resumed, 7)] == uninterrupted[5:]


@pytest.mark.parametrize('world_size', [1, 2, 4])
def test_ranks_share_an_epoch(set_rank, world_size):
    drawn = []
    for rank in range(world_size):
        set_rank(rank, world_size)
        source = sampler()
        assert len(source) == 4 // world_size * 7
        drawn += draw(source, len(source))
    assert sorted(index for index in drawn if index >= LABELED) == list(range(LABELED, LABELED + UNLABELED))
    labeled = Counter(index for index in drawn if index < LABELED)
    assert sum(labeled.values()) == 8
    assert set(labeled.values()) == {1, 2}


def test_ranks_together_draw_what_one_process_would(set_rank):
    alone = batches(sampler(2 * 2, 2 * 5), 10, 14)
    drawn = []
    for rank in range(2):
        set_rank(rank, 2)
        drawn.append(batches(sampler(2, 5), 10, 7))
    for whole, first, second in zip(alone, *drawn, strict=True):
        assert whole == first[:2] + second[:2] + first[2:] + second[2:]


def test_skip_on_a_rank(set_rank):
    set_rank(1, 2)
    uninterrupted = draw(sampler(), 200)
    resumed = sampler()
    resumed.skip(45)
    assert draw(resumed, 50) == uninterrupted[45:95]


@pytest.mark.parametrize('epoch', [0, 1, 5])
def test_set_epoch(epoch):
    uninterrupted = draw(sampler(), 28 * 7)
    source = sampler()
    source.skip(3)
    source.set_epoch(epoch)
    assert draw(source, 28) == uninterrupted[28 * epoch : 28 * (epoch + 1)]


@pytest.mark.parametrize(
    ('dataset', 'message'),
    [
        (range(8), r'ConcatDataset.*got range of lengths \[\]'),
        (ConcatDataset([range(8)]), r'lengths \[8\]'),
        (ConcatDataset([range(8), range(2), range(3)]), r'lengths \[8, 2, 3\]'),
        (ConcatDataset([range(8), range(0)]), r'both non-empty.*lengths \[8, 0\]'),
    ],
)
def test_other_datasets_are_refused(dataset, message):
    with pytest.raises(ValueError, match=message):
        LabeledUnlabeledSampler(dataset, 1, 1)


@pytest.mark.parametrize(('labeled', 'unlabeled'), [(0, 8), (8, 0), (-1, 3)])
def test_empty_parts_of_a_batch_are_refused(labeled, unlabeled):
    with pytest.raises(ValueError, match=f'labeled={labeled} and unlabeled={unlabeled}'):
        sampler(labeled, unlabeled)


def test_negative_skip_is_refused():
    with pytest.raises(ValueError, match='got -1'):
        sampler().skip(-1)

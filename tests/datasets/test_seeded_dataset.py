import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS
from torch.utils.data import ConcatDataset, DataLoader

from mmdmt.datasets import LabeledUnlabeledSampler, PassSampler, SeededDataset
from mmdmt.datasets.seeded_dataset import Drawn


class Augmented:
    """Images that are an index and what three generators draw for it."""

    metainfo = dict(classes=('a', 'b'))

    def __len__(self):
        return 6

    def __getitem__(self, index):
        assert type(index) is int
        return torch.tensor([index, random.random(), np.random.rand(), torch.rand(1).item()], dtype=torch.float64)


def test_index_knows_its_pass():
    index = pickle.loads(pickle.dumps(Drawn(3, turn=2)))
    assert (index, index.turn, [10, 11, 12, 13][index]) == (3, 2, 13)


def test_what_is_drawn_depends_on_seed_pass_and_index():
    dataset = SeededDataset(Augmented(), seed=0)
    first = dataset[Drawn(3, 2)]
    assert torch.equal(dataset[Drawn(3, 2)], first)
    assert torch.equal(dataset[3], dataset[Drawn(3, 0)])
    others = [dataset[Drawn(3, 1)], dataset[Drawn(4, 2)], SeededDataset(Augmented(), seed=1)[Drawn(3, 2)]]
    for other in others:
        assert (other[1:] != first[1:]).all()


def test_generators_of_the_process_go_on_as_if_nothing_was_loaded():
    random.seed(1)
    expected = [random.random(), random.random()]
    random.seed(1)
    found = [random.random()]
    SeededDataset(Augmented(), seed=0)[2]
    assert [*found, random.random()] == expected


def test_attributes_are_those_of_the_dataset():
    dataset = pickle.loads(pickle.dumps(SeededDataset(Augmented(), seed=0)))
    assert (len(dataset), dataset.metainfo) == (6, dict(classes=('a', 'b')))
    with pytest.raises(AttributeError, match='no_such'):
        getattr(dataset, 'no_such')  # noqa: B009
    built = DATASETS.build(dict(type='SeededDataset', dataset=ConcatDataset([Augmented(), Augmented()]), seed=0))
    assert len(built.datasets) == 2


@pytest.mark.parametrize('start', [0, 7])
@pytest.mark.parametrize('parts', [1, 2])
def test_batches_do_not_depend_on_the_workers_nor_on_where_they_start(parts, start):
    """Over several passes."""

    def batches(workers, skipped):
        dataset = Augmented() if parts == 1 else ConcatDataset([Augmented(), Augmented()])
        dataset = SeededDataset(dataset, seed=4)
        sampler = PassSampler(dataset, seed=4) if parts == 1 else LabeledUnlabeledSampler(dataset, 1, 2, seed=4)
        sampler.skip(3 * skipped)
        loader = iter(DataLoader(dataset, batch_size=3, sampler=sampler, num_workers=workers))
        return [next(loader) for _ in range(12 - skipped)]

    undisturbed = batches(0, 0)
    for workers in (0, 1, 3):
        for expected, found in zip(undisturbed[start:], batches(workers, start), strict=True):
            assert torch.equal(expected, found)

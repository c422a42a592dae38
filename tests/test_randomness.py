import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mmdmt.randomness import host_generators_kept, position_seed, seed_generators, seed_host


def draw():
    return random.random(), float(np.random.rand()), torch.rand(1).item()


def test_positions_have_different_seeds():
    positions = [(seed, turn, index) for seed in range(5) for turn in range(10) for index in range(20)]
    seeds = {position_seed(*position) for position in positions}
    assert len(seeds) == len(positions)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert position_seed(1, 23) != position_seed(12, 3)


def test_seed_is_the_same_in_each_process():
    """Python's own ``hash`` of a string is not."""
    code = "from mmdmt.randomness import position_seed; print(position_seed(3, 'step', 5))"
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == position_seed(3, 'step', 5)


def test_all_generators_are_seeded():
    seed_generators(2**62 + 7)
    first = draw()
    assert draw() != first
    seed_generators(2**62 + 7)
    assert draw() == first
    seed_generators(2**62 + 8)
    assert all(now != before for now, before in zip(draw(), first, strict=True))


def test_block_leaves_the_generators_as_they_were():
    seed_generators(1)
    undisturbed = [draw(), draw()]
    seed_generators(1)
    assert draw() == undisturbed[0]
    with pytest.raises(KeyError), host_generators_kept():
        seed_host(5)
        inside = draw()
        raise KeyError
    assert draw() == undisturbed[1]
    seed_host(5)
    assert draw() == inside


class Draws:
    def __len__(self):
        return 4

    def __getitem__(self, index):
        with host_generators_kept():
            seed_host(index)
            return torch.tensor(draw(), dtype=torch.float64)


def test_worker_draws_what_the_process_draws():
    alone, workers = (torch.cat(list(DataLoader(Draws(), num_workers=number))) for number in (0, 2))
    assert torch.equal(alone, workers)

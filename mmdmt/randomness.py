"""Randomness as a function of a position in a run, not of what was drawn before."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.utils.data import get_worker_info


def position_seed(*position: int | str) -> int:
    """Seed of a position: different for each position, the same in each process.

    Returns:
        A number in [0, 2**63).

    Example:
        >>> position_seed(0, 'step', 7) == position_seed(0, 'step', 7)
        True
        >>> position_seed(0, 'step', 7) == position_seed(0, 'step', 8)
        False
    """
    digest = hashlib.blake2b(repr(position).encode(), digest_size=8).digest()
    return int.from_bytes(digest, 'little') >> 1


def seed_generators(seed: int) -> None:
    """Seed the global generators of Python, NumPy and PyTorch, on all devices."""
    seed_host(seed)
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        torch.manual_seed(seed)


def seed_host(seed: int) -> None:
    """Seed the global generators of Python, NumPy and PyTorch's CPU: those of random transforms."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed takes 100 times as long, for other devices


@contextmanager
def host_generators_kept() -> Iterator[None]:
    """Restore the generators of :func:`seed_host` after a block.

    A data loader's worker draws nothing outside such blocks, so there nothing is restored.
    """
    if get_worker_info() is not None:
        yield
        return
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])

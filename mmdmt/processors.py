"""The processors of this machine."""

import os

import torch

BUSY = 1.5
"""Load for each processor above which others are taken to compute, too."""


def processors() -> int:
    """Number of processors that this process may use, at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def crowded() -> str:
    """A hint where several threads compute and share the processors with other work; empty otherwise."""
    threads, number = torch.get_num_threads(), os.cpu_count() or 1
    if torch.cuda.is_available() or threads == 1 or not hasattr(os, 'getloadavg'):
        return ''
    load = os.getloadavg()[0]
    if load <= BUSY * number:
        return ''
    return (
        f'Other work shares the {number} processors (load {load:.1f}): {threads} threads, which wait for each other, '
        'can be many times slower than one; set OMP_NUM_THREADS=1'
    )

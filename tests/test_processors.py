import os

import pytest
import torch

from mmdmt.processors import crowded, processors


@pytest.mark.skipif(not hasattr(os, 'sched_setaffinity'), reason='this system does not restrict processes')
def test_only_those_that_this_process_may_use():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert processors() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert processors() == len(before)


@pytest.mark.parametrize(('number', 'expected'), [(8, 8), (None, 1)])
def test_other_systems(monkeypatch, number, expected):
    monkeypatch.delattr(os, 'sched_getaffinity', raising=False)
    monkeypatch.setattr(os, 'cpu_count', lambda: number)
    assert processors() == expected


@pytest.mark.parametrize(('threads', 'load', 'said'), [(2, 3.1, True), (2, 2.9, False), (1, 9.0, False)])
def test_several_threads_beside_other_work(monkeypatch, threads, load, said):
    monkeypatch.setattr(torch, 'get_num_threads', lambda: threads)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(os, 'cpu_count', lambda: 2)
    monkeypatch.setattr(os, 'getloadavg', lambda: (load, 0.0, 0.0))
    assert ('OMP_NUM_THREADS=1' in crowded()) == said
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert crowded() == ''

import os

import pytest

from mmdmt.processors import processors


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

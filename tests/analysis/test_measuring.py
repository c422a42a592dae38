import time

import pytest
import torch

from mmdmt.analysis.measuring import Meter


def busy(milliseconds):
    def work():
        end = time.process_time() + milliseconds / 1000
        while time.process_time() < end:
            pass

    return work


def test_time_is_that_of_the_processor_and_the_figure_a_ratio():
    figure = Meter(repeats=2).figure('long', busy(20), 'short', busy(10))
    assert (figure.work, figure.against) == ('long', 'short')
    assert figure.ratio == pytest.approx(2, rel=0.3)
    assert Meter(repeats=1).seconds(lambda: time.sleep(0.05))[0] < 0.02


def test_works_run_in_turn():
    order = []
    Meter(repeats=2).seconds(lambda: order.append('a'), lambda: order.append('b'))
    assert order == ['a', 'b'] * 3


def test_peak_memory_counts_what_is_freed_again():
    mebi = 2**20
    peaks = [Meter().peak_bytes(lambda: torch.ones(64 * mebi, dtype=torch.uint8)) for _ in range(3)]
    if None in peaks:
        pytest.skip('this system does not tell')
    assert max(peaks) == pytest.approx(64 * mebi, rel=0.1)  # the system may take pages away meanwhile


def test_peak_memory_counts_memory_that_the_process_has_kept():
    kept = [torch.ones(2**18, dtype=torch.uint8) for _ in range(200)]
    last = torch.ones(2**18, dtype=torch.uint8)  # holds the heap open
    del kept
    peak = Meter().peak_bytes(lambda: [torch.ones(2**18, dtype=torch.uint8) for _ in range(100)])
    if peak is None:
        pytest.skip('this system does not tell')
    assert peak == pytest.approx(100 * 2**18, rel=0.15)
    assert len(last) == 2**18

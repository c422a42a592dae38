"""Measures what work costs, as a ratio to other work of the same run on the same machine."""

import ctypes
import gc
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

Work = Callable[[], Any]


class Figure(NamedTuple):
    """A measured figure: ``ratio`` of ``work`` to ``against``; ``note`` holds absolute values, with their units."""

    work: str
    against: str
    ratio: float
    note: str = ''


class Meter:
    """Measures time and memory on a device.

    On a CPU, time is that of the processor on one thread, since wall time depends on what else runs. On a GPU, it is
    wall time until the device is idle.

    Args:
        device: ``cpu`` or ``cuda``.
        repeats: How often each work is measured; the fastest time counts.
    """

    def __init__(self, device: str = 'cpu', repeats: int = 7) -> None:
        self.device, self.repeats = torch.device(device), repeats

    def seconds(self, *works: Work, wall: bool = False) -> list[float]:
        """Fastest time of each work, on a CPU wall time if asked for.

        They run in turn, so a slow spell of the machine hits all of them.
        """
        clock = time.process_time if self.device.type == 'cpu' and not wall else time.perf_counter
        for work in works:
            work()  # the first run allocates and compiles
        best = [float('inf')] * len(works)
        for _ in range(self.repeats):
            best = [min(time_before, self._time(work, clock)) for time_before, work in zip(best, works, strict=True)]
        return best

    def figure(self, name: str, work: Work, against: str, other: Work, wall: bool = False) -> Figure:
        """Time of a work as a ratio to another one, see :meth:`seconds`."""
        own, reference = self.seconds(work, other, wall=wall)
        return Figure(name, against, own / reference, f'{1000 * own:.3g} ms against {1000 * reference:.3g} ms')

    def peak_bytes(self, work: Work) -> int | None:
        """Memory that a work needs at most, above what is in use; None where the system does not tell."""
        work()  # the first run loads code
        gc.collect()
        if self.device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            work()
            return torch.cuda.max_memory_allocated() - before
        if not _reset_peak():
            return None
        before = resident_bytes('VmRSS')
        work()
        return resident_bytes('VmHWM') - before

    def _time(self, work: Work, clock: Callable[[], float]) -> float:
        self._wait()
        start = clock()
        work()
        self._wait()
        return clock() - start

    def _wait(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.synchronize()


def _reset_peak() -> bool:
    """Let the kernel (Linux) forget the largest memory that this process had; whether it can."""
    with suppress(AttributeError):  # of glibc; memory that was freed, but kept, would serve the work unseen
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path('/proc/self/clear_refs').write_text('5')
    except OSError:
        return False
    return True


def resident_bytes(name: str) -> int:
    """Resident memory of this process in bytes, now (``VmRSS``) or at most (``VmHWM``)."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f'{name}:'))

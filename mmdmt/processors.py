"""The processors of this machine."""

import os


def processors() -> int:
    """Number of processors that this process may use, at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1

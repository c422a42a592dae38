"""Work that is done while the next image is predicted."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from mmdmt.processors import processors

THREADS = 4
"""Upper bound; compression releases Python's lock, so threads share it between processors."""


class Background:
    """Make calls in threads, a few at a time.

    The first error is raised by a later :meth:`submit`, or by :meth:`finish`. At most one call a thread waits, so that
    little is kept in memory, and little is lost if the process is killed.

    Example:
        >>> background, seen = Background(), []
        >>> for number in range(3):
        ...     background.submit(seen.append, number)
        >>> background.finish()
        >>> sorted(seen)
        [0, 1, 2]
    """

    def __init__(self) -> None:
        # One processor predicts.
        self.threads = max(1, min(THREADS, processors() - 1))
        self._pool: ThreadPoolExecutor | None = None
        self._calls: deque[Future] = deque()

    def submit(self, call: Callable, *args: Any) -> None:
        """Call it as soon as a thread is free; waits while too many calls do."""
        while len(self._calls) >= 2 * self.threads:
            self._calls.popleft().result()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix='mmdmt-labels')
        self._calls.append(self._pool.submit(call, *args))

    def finish(self) -> None:
        """Wait for all calls, and raise the first error."""
        for call in self._stop():
            call.result()

    def stop(self) -> None:
        """Wait for all calls; their errors count no more."""
        self._stop()

    def _stop(self) -> deque[Future]:
        calls, self._calls = self._calls, deque()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        return calls

"""Signals that ask a run to stop: it saves its state first."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from mmengine.dist import all_reduce, is_distributed

EXIT_CODE = 75
"""Exit code of a stopped run (``EX_TEMPFAIL``): started again, it goes on."""
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT)

_received: list[int] = []
_phases_running = 0


class Stopped(SystemExit):
    """A signal has stopped the run after it has saved; ends the process with ``EXIT_CODE``."""

    def __init__(self) -> None:
        super().__init__(EXIT_CODE)

    def __str__(self) -> str:
        names = ' and '.join(dict.fromkeys(signal.Signals(number).name for number in _received)) or 'another process'
        return f'stopped by {names}'


@contextmanager
def listening() -> Iterator[None]:
    """Listen to the signals within a block; outside the main thread of a process, this is not possible.

    A signal in a phase is answered by :class:`~mmdmt.engine.hooks.StopHook`, at any other time by :class:`Stopped` at
    once. A second SIGINT raises KeyboardInterrupt.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _received.clear()
    before = {number: signal.signal(number, _answer) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _answer(number: int, frame: FrameType | None) -> None:
    again = number == signal.SIGINT and number in _received
    _received.append(number)
    if again:
        raise KeyboardInterrupt
    if not _phases_running:
        raise Stopped


@contextmanager
def in_phase() -> Iterator[None]:
    """Within a block, a signal waits for a state that can be saved; at its end, at the latest, it stops the run."""
    global _phases_running
    _phases_running += 1
    try:
        yield
    finally:
        _phases_running -= 1
    if stop_requested():
        raise Stopped


def signal_received() -> bool:
    """Whether this process has received a signal."""
    return bool(_received)


def stop_requested() -> bool:
    """Whether any process of the run has received a signal; all processes must ask at the same step."""
    if not is_distributed():
        return signal_received()
    flag = torch.tensor(float(signal_received()))
    all_reduce(flag, 'max')
    return bool(flag)


def ignore_in_worker() -> None:
    """Let a data loader's worker outlive signals to its process group: its process still needs it, and ends it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _ignore_once)


def _ignore_once(number: int, frame: FrameType | None) -> None:
    """Ignore SIGTERM to all processes; the parent's own, to a worker that hangs, comes as a second one."""
    signal.signal(number, signal.SIG_DFL)

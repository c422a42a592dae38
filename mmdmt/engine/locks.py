"""One writer at a time for each phase of a work dir."""

import json
import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from mmdmt.errors import InUseError
from mmdmt.files import is_alive, read_json

FOLDER = '.locks'
PATIENCE = 15.0
"""Seconds to wait for the loader workers of a killed process, which end some seconds after it."""


@contextmanager
def claimed(work_dir: Path, phases: Iterable[str]) -> Iterator[None]:
    """Be the only process that runs these phases of a work dir, as long as the block lasts.

    The operating system drops the locks of a process that ends, however it ends. A file system without locks (some
    network file systems) gets lock files instead; those of a dead process of this host are recognized.

    Raises:
        InUseError: if another process runs one of them; names its pid, host and start.
    """
    folder = work_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for name in phases:
            stack.enter_context(_claim(folder, name))
        yield


@contextmanager
def planning(work_dir: Path) -> Iterator[None]:
    """Wait until no other process writes the plan of a work dir, and keep them waiting."""
    lock = _acquire(work_dir / FOLDER / 'plan', timeout=60.0)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _claim(folder: Path, name: str) -> Iterator[None]:
    holder, start = folder / f'{name}.json', time.monotonic()
    while True:
        try:
            lock = _acquire(folder / name)
            break
        except Timeout:
            found = read_json(holder) or {}
            if not _may_end_soon(found) or time.monotonic() - start > PATIENCE:
                raise InUseError(_describe(folder, name, found)) from None
            time.sleep(0.2)
    try:
        own = dict(pid=os.getpid(), host=socket.gethostname(), start=time.strftime('%Y-%m-%d %H:%M:%S'))
        holder.write_text(json.dumps(own))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _acquire(path: Path, timeout: float = 0.0) -> BaseFileLock:
    lock: BaseFileLock = FileLock(f'{path}.lock')
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        raise
    except (NotImplementedError, OSError):  # the file system has no locks
        lock = SoftFileLock(f'{path}.softlock')
        lock.acquire(timeout=timeout)
    return lock


def _may_end_soon(holder: dict[str, Any]) -> bool:
    """Whether the process that took a lock is dead, or has not yet written who it is."""
    if not holder:
        return True
    return holder.get('host') == socket.gethostname() and not is_alive(holder.get('pid', 0))


def _describe(folder: Path, name: str, holder: dict[str, Any]) -> str:
    who = f'process {holder.get("pid", "(unknown)")} on {holder.get("host", "(unknown)")}'
    return (
        f'{folder.parent} is in use: {who}, started {holder.get("start", "(unknown)")}, runs phase {name} there. Wait '
        'for it, or stop it'
    )

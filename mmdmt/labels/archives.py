"""Many small files in few large ones: tar archives without compression, read at any place."""

import os
import tarfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import IO, NamedTuple

from mmdmt.files import disk_full, is_full

SIZE = 2**30
"""Bytes after which a new archive begins, so that a lost one costs few labels."""


class Place(NamedTuple):
    """Where a file lies: the number of the archive, and the offset of its first byte there."""

    archive: int
    offset: int


def archive_path(folder: Path, number: int) -> Path:
    """Path of an archive in a folder."""
    return folder / f'{number:05d}.tar'


def read_file(folder: Path, place: Place, size: int) -> bytes:
    """Read a file of a size; less of it if the archive ends before.

    Raises:
        FileNotFoundError: if the archive is missing.
    """
    with open(archive_path(folder, place.archive), 'rb') as file:
        end = os.fstat(file.fileno()).st_size
        file.seek(min(place.offset, end))
        return file.read(min(size, end))  # a forged size would take any amount of memory


class ArchiveWriter:
    """Writes files into new archives of a folder; each archive is written once, by one process.

    Any tar program extracts them, those of killed processes, too.

    Args:
        folder: The folder. The first write creates it.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> writer = ArchiveWriter(folder)
        >>> (place,) = writer.write({'labels/a.png': b'content'})
        >>> place, read_file(folder, place, 7)
        (Place(archive=0, offset=512), b'content')
        >>> writer.close()
        >>> tarfile.open(archive_path(folder, 0)).getnames()
        ['labels/a.png']
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = Lock()
        self._number = 0
        self._file: IO[bytes] | None = None

    def write(self, files: Mapping[str, bytes]) -> list[Place]:
        """Append files by name; several threads may.

        Raises:
            DiskFullError: if they do not fit.
        """
        with self._lock:
            try:
                return [self._append(name, content) for name, content in files.items()]
            except BaseException as error:
                self._abandon()
                if is_full(error):
                    path = archive_path(self.folder, self._number)
                    raise disk_full(path, sum(map(len, files.values()))) from error
                raise

    def close(self) -> None:
        """Complete this process's archive and flush it to disk; what is written later goes into a new one."""
        with self._lock:
            self._complete()

    def _append(self, name: str, content: bytes) -> Place:
        if self._file is not None and self._file.tell() >= SIZE:
            self._complete()
        if self._file is None:
            self._file = self._begin()
        info = tarfile.TarInfo(name)
        info.size, info.mtime = len(content), int(time.time())
        header, start = info.tobuf(tarfile.PAX_FORMAT), self._file.tell()
        self._file.write(header + content + bytes(-len(content) % tarfile.BLOCKSIZE))
        self._file.flush()
        return Place(self._number, start + len(header))

    def _begin(self) -> IO[bytes]:
        self.folder.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                return open(archive_path(self.folder, self._number), 'xb')
            except FileExistsError:  # of another process, or of a killed one
                self._number += 1

    def _complete(self) -> None:
        if self._file is not None:
            self._file.write(bytes(2 * tarfile.BLOCKSIZE))
            self._file.flush()
            os.fsync(self._file.fileno())
            self._abandon()

    def _abandon(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # a full disk may leave something to write
                file.close()

"""Write files atomically: each exists whole or not at all, whatever happens meanwhile."""

import errno
import json
import os
import shutil
import socket
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mmdmt.errors import DiskFullError, UnwritableError

SUFFIX = '.tmp'
CHUNK = 2**22


@contextmanager
def atomic(path: str | os.PathLike[str], mode: str = 'wb', sync: bool = True) -> Iterator[IO]:
    """Open a temporary file for writing and move it to ``path`` when the block ends.

    The file is flushed to disk before it replaces an earlier one at ``path``, so a power failure leaves one of them. If
    the block raises, ``path`` stays unchanged and the temporary file is deleted; :func:`sweep` deletes those of killed
    processes. Missing folders are created.

    Args:
        path: Final path of the file.
        mode: ``wb`` or ``w`` (UTF-8; line ends are not translated).
        sync: Wait until the disk has the file. Without, a power failure may leave a damaged one; many small files are
            written faster.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> folder = Path(tempfile.mkdtemp())
        >>> with atomic(folder / 'note.txt', 'w') as file:
        ...     _ = file.write('whole')
        >>> [file.name for file in folder.iterdir()]
        ['note.txt']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}~{socket.gethostname()}~{os.getpid()}{SUFFIX}')
    text = {} if 'b' in mode else dict(encoding='utf-8', newline='')
    try:
        with open(temporary, mode, **text) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        written = temporary.stat().st_size if temporary.exists() else 0
        temporary.unlink(missing_ok=True)
        if is_full(error):
            raise disk_full(path, written) from error
        raise


def check_folder(path: str | os.PathLike[str]) -> None:
    """Check that files can be written into a folder, there already or to be made; leave nothing behind.

    Raises:
        UnwritableError: if not; names the folder, and what is in the way.
    """
    place = _absolute(path)
    nearest = next(folder for folder in (place, *place.parents) if os.path.lexists(folder))
    if not os.path.isdir(nearest):
        what = 'a file' if os.path.isfile(nearest) else 'a link to what does not exist, or may not be looked at'
        raise UnwritableError(f'{path} cannot be a folder: {nearest} is {what}')
    try:
        with tempfile.TemporaryFile(dir=nearest):  # what permissions say does not hold for root, nor on all disks
            pass
    except OSError as error:
        raise UnwritableError(f'{path} cannot be written: {nearest}: {error.strerror}') from error


def check_file(path: str | os.PathLike[str]) -> None:
    """Check that a file can be written, there already or not; leave nothing behind.

    Raises:
        UnwritableError: if not; names the file, and what is in the way.
    """
    place = _absolute(path)
    # `atomic` would put a file in the place of a device.
    device = Path('/dev') in place.parents and Path('/dev/shm') not in place.parents
    if os.path.exists(place) and (device or not os.path.isfile(place)):
        raise UnwritableError(f'{path} must be a file, but is a {"folder" if os.path.isdir(place) else "device"}')
    check_folder(place.parent)


def _absolute(path: str | os.PathLike[str]) -> Path:
    place = Path(path).absolute()
    try:
        os.lstat(place)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UnwritableError(f'{path} cannot be written: {error.strerror}') from error
    return place


def is_full(error: BaseException) -> bool:
    """Whether an error is that of a full disk, or of a used-up quota."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def free_space(path: str | os.PathLike[str]) -> int:
    """Free bytes on the disk of a file or folder, which need not exist yet."""
    path = Path(path).absolute()
    return shutil.disk_usage(next(folder for folder in (path, *path.parents) if folder.exists())).free


def disk_full(path: str | os.PathLike[str], needed: int) -> DiskFullError:
    """The error for a file of at least ``needed`` bytes that the disk cannot hold."""
    return DiskFullError(
        f'{path} cannot be written: the disk is full. It needs {megabytes(needed)} or more, '
        f'{megabytes(free_space(path))} are free. Free some space, then continue with --resume'
    )


def megabytes(number: float) -> str:
    """A number of bytes, to be read by humans."""
    return f'{number / 2**20:,.1f} MiB'


def write_bytes(path: str | os.PathLike[str], content: bytes, sync: bool = True) -> None:
    """Write a binary file atomically; see :func:`atomic`."""
    with atomic(path, sync=sync) as file:
        file.write(content)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file atomically."""
    with atomic(path, 'w') as file:
        file.write(text)


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(content, indent=1))


def read_json(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Read a JSON file that holds a dict; None if the file does not exist or is damaged."""
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def checksum(path: str | os.PathLike[str]) -> list[int] | None:
    """Size in bytes and CRC-32 of a file; None if it cannot be read."""
    size = code = 0
    try:
        with open(path, 'rb') as file:
            while chunk := file.read(CHUNK):
                size, code = size + len(chunk), zlib.crc32(chunk, code)
    except OSError:
        return None
    return [size, code]


def sweep(folder: str | os.PathLike[str]) -> None:
    """Delete the temporary files that killed processes of this host left in a folder and below it.

    Call it before this process writes: it takes files with its own process number for those of an earlier process.
    """
    host = socket.gethostname()
    for path in Path(folder).rglob(f'.*~{host}~*{SUFFIX}'):
        process = path.name.removesuffix(SUFFIX).rpartition('~')[2]
        if process.isdigit() and (int(process) == os.getpid() or not is_alive(int(process))):
            path.unlink(missing_ok=True)


def is_alive(process: int) -> bool:
    """Whether a process of this host runs, by its number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process
        return True
    return True

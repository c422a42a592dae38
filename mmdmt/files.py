"""Write files atomically: each exists whole or not at all, whatever happens meanwhile."""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

SUFFIX = '.tmp'


@contextmanager
def atomic(path: str | os.PathLike[str], mode: str = 'wb') -> Iterator[IO]:
    """Open a temporary file for writing and move it to ``path`` when the block ends.

    The file is flushed to disk before it replaces an earlier one at ``path``. If the block raises, ``path`` stays
    unchanged and the temporary file is deleted; :func:`sweep` deletes those of killed processes. Missing folders are
    created.

    Args:
        path: Final path of the file.
        mode: ``wb`` or ``w`` (UTF-8; line ends are not translated).

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
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file atomically."""
    with atomic(path, 'w') as file:
        file.write(text)


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(content, indent=1))


def sweep(folder: str | os.PathLike[str]) -> None:
    """Delete the temporary files that killed processes of this host left in a folder and below it.

    Call it before this process writes: it takes files with its own process number for those of an earlier process.
    """
    host = socket.gethostname()
    for path in Path(folder).rglob(f'.*~{host}~*{SUFFIX}'):
        process = path.name.removesuffix(SUFFIX).rpartition('~')[2]
        if process.isdigit() and (int(process) == os.getpid() or not _is_alive(int(process))):
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process
        return True
    return True

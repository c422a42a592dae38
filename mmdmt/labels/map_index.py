"""Which images a store of label maps holds, where, and with what checksums: one line an image."""

import os
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmdmt.labels.archives import Place


class Sum(NamedTuple):
    """Size in bytes and CRC-32 of a file."""

    size: int
    code: int

    @classmethod
    def of(cls, content: bytes) -> 'Sum':
        """The sum of a content."""
        return cls(len(content), zlib.crc32(content))


class Entry(NamedTuple):
    """The two files of an image, class map and confidence codes, and the places of both if they lie in an archive."""

    label: Sum
    code: Sum
    places: Sequence[Place] | None = None


def line(name: str, entry: Entry | None) -> str:
    """Line of an image; None for one whose labels were dropped.

    Example:
        >>> line('000000_a', Entry(Sum(9, 1), Sum(8, 2)))
        '000000_a\\t9\\t1\\t8\\t2\\n'
        >>> line('000000_a', Entry(Sum(9, 1), Sum(8, 2), [Place(3, 512), Place(3, 1536)]))
        '000000_a\\t9\\t1\\t8\\t2\\t3:512:1536\\n'
        >>> line('000000_a', None)
        '000000_a\\t-\\n'
    """
    if entry is None:
        return f'{name}\t-\n'
    sums = '\t'.join(map(str, (*entry.label, *entry.code)))
    places = '' if entry.places is None else '\t{0.archive}:{0.offset}:{1.offset}'.format(*entry.places)
    return f'{name}\t{sums}{places}\n'


def parse(text: str) -> tuple[str, Entry | None] | None:
    """Name and entry of a line without its end; None if it is not whole, or its name would lead out of the folder."""
    name, _, last = text.rpartition('\t')
    places: list[Place] | None = None
    if last == '-':
        return (name, None) if _is_name(name) else None
    if ':' in last:
        numbers = last.split(':')
        if len(numbers) != 3 or not all(map(_is_number, numbers)):
            return None
        archive, label, code = map(int, numbers)
        places = [Place(archive, label), Place(archive, code)]
        text = name
    name, *sums = text.rsplit('\t', 4)
    if len(sums) != 4 or not all(map(_is_number, sums)) or not _is_name(name):
        return None
    label_size, label_code, code_size, code_code = map(int, sums)
    return name, Entry(Sum(label_size, label_code), Sum(code_size, code_code), places)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19  # 64 bits


def _is_name(text: str) -> bool:
    return text == os.path.basename(text)


def read_entries(paths: Iterable[Path]) -> dict[str, Entry | None]:
    """Name -> entry, from files of lines; later lines replace earlier ones.

    None for images whose labels were dropped. A line without an end, of a killed process, does not count.
    """
    texts = (path.read_text(encoding='utf-8', errors='replace') for path in paths)
    return dict(found for text in texts for part in text.split('\n')[:-1] if (found := parse(part)) is not None)


class SortedFile:
    """A file of lines in order of their bytes, which is searched as it is: a dict would take ten times the memory."""

    def __init__(self, path: Path) -> None:
        self._text = path.read_bytes()
        self._ends = np.flatnonzero(np.frombuffer(self._text, np.uint8) == ord('\n'))

    def get(self, name: str) -> Entry | None:
        """Entry of an image; None if there is none."""
        index = bisect_left(range(len(self._ends)), name.encode() + b'\t', key=self._line)
        found = parse(self._line(index).decode(errors='replace')) if index < len(self._ends) else None
        return found[1] if found is not None and found[0] == name else None

    def _line(self, index: int) -> bytes:
        start = int(self._ends[index - 1]) + 1 if index else 0
        return self._text[start : int(self._ends[index])]


def sizes_and_times(folder: Path) -> dict[str, tuple[int, int]]:
    """Name of each file of a folder -> its size, and time of its last change in nanoseconds; empty without a folder."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: ((stat := entry.stat()).st_size, stat.st_mtime_ns) for entry in entries}
    except FileNotFoundError:
        return {}

"""Base of the stores that hold the pseudo labels of one label phase on disk."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from mmdmt.errors import DamagedFileError, MissingFileError, UserError
from mmdmt.files import checksum, read_json, write_json

_APPENDING = Lock()


def sample_name(sample_idx: int, img_path: str) -> str:
    """Name an image in a store: its index in the unlabeled dataset makes it unique, its file stem readable.

    Stores list names in lines, so a line break becomes ``_``.
    """
    stem = Path(img_path).stem.replace('\n', '_').replace('\r', '_')
    return f'{sample_idx:06d}_{stem}'


class Selection(Protocol):
    """The pseudo labels that a ratio selects."""

    @property
    def indices(self) -> Sequence[int]:
        """Indices of the images in the unlabeled dataset, ascending."""

    def fields(self, position: int, name: str) -> dict[str, Any]:
        """Fields for the data info of the image ``name``, at ``indices[position]``."""


class LabelStore(ABC):
    """Folder that holds the pseudo labels of one teacher.

    ``labels.json`` is written last, so its presence means that the store is complete. It holds size and checksum of
    the other files, or of the file that holds theirs. Until then, each process lists in a ``part-*.csv`` what it wrote.

    Args:
        root: The folder. The first write creates it.
    """

    always_kept = False
    """Whether used labels are kept because they are small."""
    summed: tuple[str, ...] = ()
    """Files of a complete store whose checksums ``labels.json`` holds."""

    def __init__(self, root: str | os.PathLike) -> None:
        self.root = Path(root)
        self._part: Path | None = None

    @abstractmethod
    def names(self) -> set[str]:
        """Names of the images labeled so far."""

    def lost(self) -> set[str]:
        """Names of the images whose labels were written, but are missing or damaged now."""
        return set()

    @abstractmethod
    def forget(self, names: Collection[str]) -> None:
        """Drop labels from a store that is not complete."""

    @abstractmethod
    def select(self, names: Sequence[str], ratio: float, ranking: str) -> Selection:
        """Select the labels of a complete store that a ratio keeps.

        Args:
            names: Names of all images, in the order of the unlabeled dataset.
            ratio: Share to select, in (0, 1].
            ranking: Rank within each ``class``, or ``all`` images together.
        """

    @abstractmethod
    def discard(self) -> None:
        """Delete used labels that take much space; the store stays complete."""

    @property
    def complete(self) -> bool:
        """Whether all images are labeled."""
        return (self.root / 'labels.json').is_file()

    def finish(self, **info: Any) -> None:
        """Mark the store complete and add ``info`` to ``labels.json`` (see :meth:`info`)."""
        names = self.names()
        files = {name: checksum(self.root / name) for name in self.summed}
        write_json(self.root / 'labels.json', dict(num_images=len(names), names=_digest(names), files=files, **info))
        for part in self.parts():
            part.unlink()

    def info(self) -> dict[str, Any]:
        """Read ``labels.json``: num_images, a digest of the names, and what the writer added.

        Raises:
            FileNotFoundError: if the store is not complete.
            DamagedFileError: if the file is damaged.
        """
        path = self.root / 'labels.json'
        if not self.complete:
            raise MissingFileError(f'{path}: the pseudo labels are not complete; run their label phase first')
        info = read_json(path)
        if info is None or not {'num_images', 'names'} <= info.keys():
            raise DamagedFileError(f'{path} is damaged: run its label phase again')
        return info

    def repair(self) -> str | None:
        """Look for damage in a complete store, and make it incomplete if there is any.

        Returns:
            The first file that is missing, damaged or changed; None if all are as they were written.
        """
        damage = self._damage()
        if damage is not None:
            (self.root / 'labels.json').unlink(missing_ok=True)
        return damage

    def _damage(self) -> str | None:
        """The first bad file of a complete store; deletes it, so that only its content is made anew."""
        info = read_json(self.root / 'labels.json') or {}
        files = info.get('files')
        if not isinstance(files, dict) or set(files) != set(self.summed):
            return 'labels.json'
        bad = [name for name in self.summed if checksum(self.root / name) != files[name]]
        for name in bad:
            (self.root / name).unlink(missing_ok=True)
        return bad[0] if bad else None

    def parts(self) -> list[Path]:
        """What the processes have written so far, oldest first."""
        found = {path: path.stem.removeprefix('part-') for path in self.root.glob('part-*.csv')}
        return sorted((path for path, number in found.items() if number.isdigit()), key=lambda path: int(found[path]))

    def _append(self, lines: str) -> None:
        """Add lines to this process's part; several threads may."""
        with _APPENDING:
            if self._part is None:
                self.root.mkdir(parents=True, exist_ok=True)
                self._part = self._new_part()
            with open(self._part, 'a', newline='', encoding='utf-8') as file:
                file.write(lines)

    def _new_part(self) -> Path:
        number = 0
        while True:
            path = self.root / f'part-{number}.csv'
            try:
                path.touch(exist_ok=False)
                return path
            except FileExistsError:  # of another process, or of a killed one
                number += 1

    def check_names(self, names: Sequence[str]) -> None:
        """Refuse labels made for another list of images.

        Raises:
            ValueError: if the names differ; the message names the store and both counts.
        """
        info = self.info()
        if info['names'] != _digest(names):
            raise UserError(
                f'{self.root} holds labels of {info["num_images"]} images, but not of the {len(names)} images that '
                'the unlabeled dataset lists now (names or order differ); run its label phase again'
            )


def _digest(names: Sequence[str] | set[str]) -> str:
    return hashlib.sha256('\n'.join(sorted(names)).encode()).hexdigest()

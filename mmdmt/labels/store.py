"""Base of the stores that hold the pseudo labels of one label phase on disk."""

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from mmdmt.errors import MissingFileError, UserError
from mmdmt.files import write_json


def sample_name(sample_idx: int, img_path: str) -> str:
    """Name an image in a store: its index in the unlabeled dataset makes it unique, its file stem readable."""
    return f'{sample_idx:06d}_{Path(img_path).stem}'


class Selection(Protocol):
    """The pseudo labels that a ratio selects."""

    @property
    def indices(self) -> Sequence[int]:
        """Indices of the images in the unlabeled dataset, ascending."""

    def fields(self, position: int, name: str) -> dict[str, Any]:
        """Fields for the data info of the image ``name``, at ``indices[position]``."""


class LabelStore(ABC):
    """Folder that holds the pseudo labels of one teacher.

    ``labels.json`` is written last, so its presence means that the store is complete.

    Args:
        root: The folder. The first write creates it.
    """

    always_kept = False
    """Whether used labels are kept because they are small."""

    def __init__(self, root: str | os.PathLike) -> None:
        self.root = Path(root)

    @abstractmethod
    def names(self) -> set[str]:
        """Names of the images labeled so far."""

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
        write_json(self.root / 'labels.json', dict(num_images=len(names), names=_digest(names), **info))

    def info(self) -> dict[str, Any]:
        """Read ``labels.json``: num_images, a digest of the names, and what the writer added.

        Raises:
            FileNotFoundError: if the store is not complete.
        """
        path = self.root / 'labels.json'
        if not self.complete:
            raise MissingFileError(f'{path}: the pseudo labels are not complete; run their label phase first')
        return json.loads(path.read_text())

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

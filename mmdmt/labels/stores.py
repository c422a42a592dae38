"""The label stores by name."""

import os
from pathlib import Path

from mmdmt.labels.maps import ARCHIVES, LabelMaps
from mmdmt.labels.store import LabelStore
from mmdmt.labels.table import LabelTable

STORES: dict[str, type[LabelStore]] = {'maps': LabelMaps, 'table': LabelTable}


def holds_labels(root: str | os.PathLike) -> bool:
    """Whether a folder holds labels of images, which are deleted after use unless they are small."""
    folder = Path(root)
    return (folder / 'labels.csv').is_file() or any((folder / name).is_dir() for name in ('labels', ARCHIVES))


def open_store(root: str | os.PathLike) -> LabelStore:
    """Open the complete label store in a folder; its files show which kind it is.

    Raises:
        FileNotFoundError: if it is not complete.
    """
    table = LabelTable(root)
    store = table if table.path.is_file() else LabelMaps(root)
    store.info()
    return store

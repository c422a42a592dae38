"""The label stores by name."""

import os

from mmdmt.labels.maps import LabelMaps
from mmdmt.labels.store import LabelStore
from mmdmt.labels.table import LabelTable

STORES: dict[str, type[LabelStore]] = {'maps': LabelMaps, 'table': LabelTable}


def open_store(root: str | os.PathLike) -> LabelStore:
    """Open the complete label store in a folder; its files show which kind it is.

    Raises:
        FileNotFoundError: if it is not complete.
    """
    table = LabelTable(root)
    store = table if table.path.is_file() else LabelMaps(root)
    store.info()
    return store

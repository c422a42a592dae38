"""Keeps the search for garbage short."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def known_objects_unsearched() -> Iterator[None]:
    """Within a block, search only the objects that are made in it for garbage.

    mmengine searches all objects whenever it builds a data set. Nearly all of them, hundreds of thousands, belong to
    imported modules, and a search takes a third of a second. If a caller has frozen objects, it stays with these.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.collect()  # what is garbage now would stay until the end of the block
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()

"""Which store is opened; see also ``test_open_store_*`` in test_table.py."""

import numpy as np
import pytest
import torch

from mmdmt.core.ranking import ClassHistogram
from mmdmt.labels.maps import LabelMaps
from mmdmt.labels.store import LabelStore
from mmdmt.labels.stores import STORES, holds_labels, open_store
from mmdmt.labels.table import LabelRow

NAMES = ['000000_a', '000001_b']


def fill(store):
    """Two images, of class 1 and 0."""
    if hasattr(store, 'append'):
        store.append([LabelRow(NAMES[0], 1, 2.0), LabelRow(NAMES[1], 0, 1.0)])
        return store.finish()
    histogram = ClassHistogram(2)
    for name, label in zip(NAMES, (1, 0), strict=True):
        pixels = np.full((1, 1), label, np.uint8)
        store.write(name, pixels, np.ones((1, 1), np.uint16))
        histogram.update(torch.from_numpy(pixels), torch.ones(1, 1, dtype=torch.int32))
    return store.finish(histogram)


@pytest.mark.parametrize('kind', STORES)
def test_a_store_is_opened_as_what_it_is(kind, tmp_path):
    """From its files alone, also after what was used has been deleted."""
    assert issubclass(STORES[kind], LabelStore)
    fill(STORES[kind](tmp_path))
    found = open_store(tmp_path)
    assert type(found) is STORES[kind]
    assert (found.root, found.names()) == (tmp_path, set(NAMES))
    assert list(found.select(NAMES, 1.0, 'class').indices) == [0, 1]
    found.discard()
    again = open_store(str(tmp_path))
    assert type(again) is STORES[kind]
    again.check_names(NAMES)


def test_kinds_differ():
    assert len(set(STORES.values())) == len(STORES) == 2
    assert [STORES[kind].always_kept for kind in ('maps', 'table')] == [False, True]


@pytest.mark.parametrize('kind', STORES)
def test_store_that_lost_its_mark_is_not_complete(kind, tmp_path):
    fill(STORES[kind](tmp_path))
    (tmp_path / 'labels.json').unlink()
    with pytest.raises(FileNotFoundError, match=r'labels\.json: the pseudo labels are not complete'):
        open_store(tmp_path)


@pytest.mark.parametrize('archives', [False, True])
def test_whether_labels_are_left(tmp_path, archives):
    store = LabelMaps(tmp_path / 'store', archives=archives)
    assert not holds_labels(store.root)
    store.write('x', np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint16))
    assert holds_labels(store.root)
    store.discard()
    assert not holds_labels(store.root)

import gc
import weakref

import pytest

from mmdmt.engine.garbage import known_objects_unsearched
from mmdmt.engine.run_data import RunData
from mmdmt.engine.runner import DMTRunner


@pytest.fixture(autouse=True)
def nothing_is_frozen():
    gc.unfreeze()


class Cycle:
    def __init__(self):
        self.itself = self


def test_only_new_objects_are_searched():
    known = Cycle()
    with known_objects_unsearched():
        new = Cycle()
        gone, kept = weakref.ref(new), weakref.ref(known)
        del new, known
        gc.collect()
        assert gone() is None
        assert kept() is not None
    gc.collect()
    assert kept() is None


def test_earlier_garbage_is_not_kept():
    garbage = Cycle()
    gone = weakref.ref(garbage)
    del garbage
    with known_objects_unsearched():
        assert gone() is None


def test_an_error_ends_it():
    with pytest.raises(KeyError), known_objects_unsearched():
        assert gc.get_freeze_count()
        raise KeyError
    assert gc.get_freeze_count() == 0


def test_a_caller_may_have_frozen_others():
    gc.freeze()
    known = Cycle()
    gone = weakref.ref(known)
    with known_objects_unsearched():
        del known
        gc.collect()
        assert gone() is None
    assert gc.get_freeze_count()


@pytest.mark.parametrize('work', ['train', 'dry_run'])
def test_a_run_and_a_dry_run_search_their_own_objects(tiny_config, tmp_path, monkeypatch, work):
    seen = []

    def prepare(self, folder):
        seen.append(gc.get_freeze_count())
        raise KeyError

    monkeypatch.setattr(RunData, 'prepare', prepare)
    with pytest.raises(KeyError):
        getattr(DMTRunner(tiny_config(tmp_path)), work)()
    assert seen[0] > 0
    assert gc.get_freeze_count() == 0

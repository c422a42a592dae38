import threading

import pytest

from mmdmt.labels import background as module
from mmdmt.labels.background import Background

DEADLINE = 20


@pytest.fixture(autouse=True)
def _processors(monkeypatch):
    monkeypatch.setattr(module, 'processors', lambda: 3)


@pytest.mark.parametrize(('number', 'threads'), [(1, 1), (2, 1), (3, 2), (5, 4), (64, 4)])
def test_one_processor_is_left(monkeypatch, number, threads):
    monkeypatch.setattr(module, 'processors', lambda: number)
    assert Background().threads == threads


def test_caller_goes_on_until_too_many_calls_wait():
    background, go, seen = Background(), threading.Event(), []
    for number in range(4):
        background.submit(lambda number: (go.wait(DEADLINE), seen.append(number)), number)
    assert seen == []
    fifth = threading.Thread(target=background.submit, args=(seen.append, 4))
    fifth.start()
    fifth.join(0.2)
    assert fifth.is_alive()  # it waits for the first of two calls a thread
    go.set()
    fifth.join(DEADLINE)
    background.finish()
    assert sorted(seen) == [0, 1, 2, 3, 4]


def test_threads_work_side_by_side():
    background, both = Background(), threading.Barrier(2)
    for _ in range(2):
        background.submit(both.wait, DEADLINE)
    background.finish()


def test_error_is_raised_by_a_later_call():
    background = Background()
    background.submit(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        for _ in range(4):
            background.submit(int)
    background.finish()


def test_first_error_is_raised_at_the_end_and_no_thread_is_left():
    background, before = Background(), threading.active_count()
    background.submit(lambda: 1 / 0)
    background.submit(lambda: [][1])
    with pytest.raises(ZeroDivisionError):
        background.finish()
    assert threading.active_count() == before
    background.submit(int)
    background.finish()


def test_nothing_to_do():
    Background().finish()


def test_stop_waits_for_all_calls_and_raises_no_error():
    background, go, seen = Background(), threading.Event(), []

    def work(number):
        go.wait(DEADLINE)
        seen.append(number)
        raise ValueError

    for number in range(4):
        background.submit(work, number)
    threading.Timer(0.1, go.set).start()
    background.stop()
    assert sorted(seen) == [0, 1, 2, 3]
    background.finish()

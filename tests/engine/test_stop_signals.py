import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch

from mmdmt.command_line import run_tool
from mmdmt.engine.stop_signals import EXIT_CODE, SIGNALS, Stopped, ignore_in_worker, in_phase, listening, stop_requested
from tests.ranks import on_ranks


@pytest.fixture(autouse=True)
def handlers_stay():
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize('number', SIGNALS)
def test_outside_of_a_phase_a_signal_stops_at_once(number):
    reached = False
    with pytest.raises(SystemExit) as raised, listening():
        os.kill(os.getpid(), number)
        reached = True
    assert not reached
    assert (raised.value.code, str(raised.value)) == (75, f'stopped by {signal.Signals(number).name}')


@pytest.mark.parametrize('number', SIGNALS)
def test_in_a_phase_a_signal_waits(number):
    with pytest.raises(Stopped), listening(), in_phase():
        assert not stop_requested()
        os.kill(os.getpid(), number)
        assert stop_requested()


def test_second_interrupt_does_not_wait():
    reached = False
    with pytest.raises(KeyboardInterrupt), listening(), in_phase():
        os.kill(os.getpid(), signal.SIGINT)
        reached = True
        os.kill(os.getpid(), signal.SIGINT)
    assert reached


def test_other_signals_may_come_twice():
    """SLURM sends SIGUSR1, later SIGTERM; a launcher may send SIGTERM again."""
    with pytest.raises(Stopped) as raised, listening(), in_phase():
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
    assert str(raised.value) == 'stopped by SIGUSR1 and SIGTERM and SIGINT'


def stop_one():
    """Send a signal to one of two processes in a phase."""
    torch.distributed.init_process_group('gloo')
    try:
        with listening(), in_phase():
            if torch.distributed.get_rank() == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            asked = stop_requested()
    except Stopped as stopped:
        return asked, str(stopped)


def test_signal_to_one_process_stops_all():
    assert on_ranks(2, stop_one) == [(True, 'stopped by another process'), (True, 'stopped by SIGTERM')]


def test_error_in_a_phase_is_not_hidden():
    with pytest.raises(KeyError), listening(), in_phase():
        os.kill(os.getpid(), signal.SIGTERM)
        raise KeyError


def test_next_run_of_the_process_begins_without_signals():
    with pytest.raises(Stopped), listening():
        os.kill(os.getpid(), signal.SIGTERM)
    with listening(), in_phase():
        assert not stop_requested()


def test_in_another_thread_nothing_is_changed():
    found = []

    def listen():
        with listening():
            found.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert found == [before]


def test_tool_ends_with_75(capsys):
    def main():
        raise Stopped

    with pytest.raises(SystemExit) as ended:
        run_tool(main)
    assert ended.value.code == EXIT_CODE == 75
    assert capsys.readouterr() == ('', '')


WORKER = """
import time
from mmdmt.engine.stop_signals import ignore_in_worker
ignore_in_worker()
print('ready', flush=True)
time.sleep(60)
"""


def test_worker_outlives_what_all_processes_get_and_ends_when_it_hangs():
    worker = subprocess.Popen([sys.executable, '-c', WORKER], stdout=subprocess.PIPE, text=True)
    assert worker.stdout.readline() == 'ready\n'
    for number in SIGNALS:
        worker.send_signal(number)
    time.sleep(0.2)
    assert worker.poll() is None
    worker.terminate()  # what its own process does in the end
    assert worker.wait(timeout=10) == -signal.SIGTERM
    assert ignore_in_worker.__doc__

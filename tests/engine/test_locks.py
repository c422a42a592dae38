import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from filelock import FileLock

from mmdmt.engine import locks
from mmdmt.engine.locks import claimed, planning
from mmdmt.errors import InUseError

HOLDER = """
import subprocess, sys, time
from pathlib import Path
from mmdmt.engine.locks import claimed

with claimed(Path(sys.argv[1]), sys.argv[2:]):
    print('holds', flush=True)
    time.sleep(60)
"""
FORK = '    os.fork() or (time.sleep(3), os._exit(0))'
FORKS = 'import os\n' + HOLDER.replace('    print(', f'{FORK}\n    print(')


@pytest.fixture
def hold(root, tmp_path):
    """``hold(*phases)``: another process that runs these phases."""
    started = []

    def start(*phases, script=HOLDER):
        command = [sys.executable, '-c', script, str(tmp_path), *phases]
        process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == 'holds\n'
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_second_process_is_told_of_the_first(hold, tmp_path):
    first = hold('00_train_a', '00_train_b')
    message = rf'{re.escape(str(tmp_path))} is in use: process {first.pid} on {socket.gethostname()}, started 2\d{{3}}-'
    with pytest.raises(InUseError, match=message + '.*runs phase 00_train_b there'), claimed(tmp_path, ['00_train_b']):
        pass
    with claimed(tmp_path, ['01_label_a', '01_train_a']):  # the other direction, say
        pass


def test_all_phases_or_none(hold, tmp_path):
    hold('01_train_b')
    with pytest.raises(InUseError), claimed(tmp_path, ['00_train_a', '01_train_b']):
        pass
    assert not (tmp_path / '.locks/00_train_a.json').exists()
    with claimed(tmp_path, ['00_train_a']):
        assert json.loads((tmp_path / '.locks/00_train_a.json').read_text())['pid'] == os.getpid()
    assert not (tmp_path / '.locks/00_train_a.json').exists()


def test_lock_of_a_killed_process_is_free(hold, tmp_path):
    first = hold('00_train_a')
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert (tmp_path / '.locks/00_train_a.json').exists()
    with claimed(tmp_path, ['00_train_a']):
        pass


def test_workers_of_a_killed_process_are_waited_for(hold, tmp_path):
    """They hold the lock too, and end some seconds after it."""
    first = hold('00_train_a', script=FORKS)
    first.send_signal(signal.SIGKILL)
    first.wait()
    start = time.monotonic()
    with claimed(tmp_path, ['00_train_a']):
        assert time.monotonic() - start < 10


def test_stopped_process_still_holds_it(hold, tmp_path):
    hold('00_train_a').send_signal(signal.SIGSTOP)
    with pytest.raises(InUseError), claimed(tmp_path, ['00_train_a']):
        pass


def test_process_of_another_host_is_not_waited_for(tmp_path):
    """Its number says nothing here: a process of this host with that number may be dead."""
    dead = subprocess.Popen([sys.executable, '-c', ''])
    dead.wait()
    with claimed(tmp_path, ['00_train_a']):
        holder = tmp_path / '.locks/00_train_a.json'
        holder.write_text(json.dumps(dict(pid=dead.pid, host='elsewhere', start='2026-01-01 00:00:00')))
        start = time.monotonic()
        with pytest.raises(InUseError, match=f'process {dead.pid} on elsewhere'), claimed(tmp_path, ['00_train_a']):
            pass
        assert time.monotonic() - start < 5


def test_file_system_without_locks(tmp_path, monkeypatch):
    def no_locks(self, *_, **__):
        raise OSError(37, 'No locks available')

    monkeypatch.setattr(FileLock, 'acquire', no_locks)
    with claimed(tmp_path, ['00_train_a']):
        assert (tmp_path / '.locks/00_train_a.softlock').exists()
        monkeypatch.setattr(locks, 'PATIENCE', 0.0)
        with pytest.raises(InUseError, match=f'process {os.getpid()} on'), claimed(tmp_path, ['00_train_a']):
            pass
    with claimed(tmp_path, ['00_train_a']):
        pass


def test_plan_is_written_by_one_at_a_time(tmp_path):
    with claimed(tmp_path, []), planning(tmp_path):
        pass
    with claimed(tmp_path, []), planning(tmp_path):
        pass

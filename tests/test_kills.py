"""Killed runs end as undisturbed ones; ``tests/kills.py`` kills them."""

import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).parent / 'kills.py'


def kill(folder, *arguments, timeout):
    command = [sys.executable, KILLS, folder, *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize('kinds', [['seg, last'], ['cls, val']])
def test_killed_run_ends_equal(tmp_path, kinds):
    assert '1 of 1 killed runs ended equal' in kill(tmp_path, '--kills', 1, '--kinds', *kinds, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize('signal', ['KILL', 'TERM', 'INT', 'USR1', 'USR2'])
def test_killed_runs_end_equal(tmp_path, signal):
    number = 50 if signal == 'KILL' else 12
    text = kill(tmp_path, '--kills', number, '--signal', signal, timeout=3600)
    assert f'{number} of {number} killed runs ended equal' in text


@pytest.mark.slow
def test_killed_runs_of_two_processes_end_equal(tmp_path):
    assert '8 of 8 killed runs ended equal' in kill(tmp_path, '--kills', 8, '--ranks', 2, timeout=3600)

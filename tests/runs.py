"""What the tests of whole runs share: running tools, killing them, and comparing what they leave."""

import os
import re
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import torch

# Runs a tool that kills itself (SIGKILL, so nothing can be tidied up) at the COUNT-th call of CLASS.METHOD in PHASE.
KILLER = """
import importlib, os, runpy, signal, sys

module, name, method, phase, count, *sys.argv = sys.argv[1:]
target = getattr(importlib.import_module(module), name)
original, calls = getattr(target, method), []

def patched(self, *args, **kwargs):
    result = original(self, *args, **kwargs)
    runner_dir = str(getattr(self, 'label_dir', None) or self.runner.work_dir)
    if runner_dir.endswith(phase):
        calls.append(1)
        if len(calls) == int(count):
            os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(target, method, patched)
runpy.run_path(sys.argv[0], run_name='__main__')
"""
TRAIN_STEP = ('mmengine.runner', 'IterBasedTrainLoop', 'run_iter')
VAL_STEP = ('mmengine.runner', 'ValLoop', 'run_iter')


def state_dict(path):
    return torch.load(path, weights_only=False, map_location='cpu')['state_dict']


def assert_same_weights(path, other):
    first, second = state_dict(path), state_dict(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def mtimes(work_dir, *patterns):
    paths = [path for pattern in patterns for path in work_dir.glob(pattern) if path.is_file()]
    return {path: path.stat().st_mtime_ns for path in paths}


def run(*command, program=sys.executable, timeout=120, **environment):
    return subprocess.run(
        [program, *map(str, command)], env={**os.environ, 'OMP_NUM_THREADS': '1', **environment}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, check=False,
    )  # fmt: skip


def printed(done):
    """The lines that a tool printed, without what the OpenMMLab packages print when they are imported."""
    lines = done.stdout.splitlines()
    return [line for line in lines if not re.search(r'OneDL|Warning: |^  (from|warnings\.warn)', line)]


def killed(step, work_dir, phase, count, tool, *arguments):
    """Output of a tool that is killed at call number ``count`` of a step in a phase, which stays incomplete."""
    script = work_dir.parent / 'killer.py'
    script.write_text(KILLER)
    done = run(script, *step, phase, count, tool, *arguments)
    assert done.returncode == -signal.SIGKILL, done.stdout
    assert not (work_dir / phase / 'phase.json').exists()
    return done.stdout


def on_two_processes():
    """``run`` for the dist_*.sh tools, which take the `python` of the path."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    return partial(run, program='bash', PATH=path, PORT=str(port))

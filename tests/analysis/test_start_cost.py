import subprocess

import pytest

from mmdmt.analysis import start_cost

TOOL = """
import sys
from types import SimpleNamespace

if sys.argv[1:] == ['--help']:
    sys.exit()
from mmengine.runner import IterBasedTrainLoop

def step(folder):
    IterBasedTrainLoop.run_iter(SimpleNamespace(runner=SimpleNamespace(work_dir=folder)), None)

try:
    step(sys.argv[3] + '/elsewhere')
except AttributeError:  # no loop that trains
    step(sys.argv[3] + '/00_train_a')
"""


def test_start(tmp_path):
    """The tool ends at the step of the phase, not at one that is tried before."""
    tool = tmp_path / 'tool.py'
    tool.write_text(TOOL)
    help_, first_step = start_cost.start_figures(tool, tmp_path / 'x.py', tmp_path, 1)
    assert help_.work == 'tool.py --help'
    assert 0 < help_.ratio < 1
    assert first_step.work == 'tool.py x, from start to first step'
    assert first_step.ratio > 0
    tool.write_text(TOOL.replace('/00_train_a', '/00_train_b'))
    with pytest.raises(subprocess.CalledProcessError):
        start_cost.start_figures(tool, tmp_path / 'x.py', tmp_path, 1)

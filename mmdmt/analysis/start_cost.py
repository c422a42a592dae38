"""How long a tool takes to start."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from mmdmt.analysis.measuring import Figure

# A tool that ends at the first step of a phase.
UNTIL_FIRST_STEP = """
import os, runpy, sys
from mmengine.runner import IterBasedTrainLoop

folder, *sys.argv = sys.argv[1:]
original = IterBasedTrainLoop.run_iter

def run_iter(loop, batch):
    if loop.runner.work_dir == folder:
        os._exit(0)
    original(loop, batch)

IterBasedTrainLoop.run_iter = run_iter
runpy.run_path(sys.argv[0], run_name='__main__')
sys.exit('there was no step')
"""


def start_figures(tool: Path, config: Path, folder: Path, repeats: int) -> list[Figure]:
    """Processor time of ``tool --help``, and from the start of a run to the first step of its first phase.

    Args:
        tool: The tool that trains.
        config: A DMT config.
        folder: An empty folder.
        repeats: The fastest of so many measurements of the help counts, and of two of the run.
    """
    help_, torch_alone = (_spent(command, repeats) for command in ([str(tool), '--help'], ['-c', 'import torch']))
    runs = (str(folder.absolute() / str(number)) for number in range(2))
    commands = (
        ['-c', UNTIL_FIRST_STEP, f'{run}/00_train_a', str(tool), str(config), '--work-dir', run] for run in runs
    )
    run, packages = min(_spent(command) for command in commands), _spent(['-c', 'import mmseg.models'], 2)
    return [
        Figure(
            f'{tool.name} --help', 'import torch', help_ / torch_alone, f'{help_:.2f} s against {torch_alone:.2f} s'
        ),
        Figure(
            f'{tool.name} {config.stem}, from start to first step', 'import mmseg.models', run / packages,
            f'{run:.1f} s against {packages:.1f} s',
        ),
    ]  # fmt: skip


def _spent(command: Sequence[str], repeats: int = 1) -> float:
    """Processor time of a Python command."""
    times = []
    for _ in range(repeats):
        before = getrusage(RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        after = getrusage(RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)

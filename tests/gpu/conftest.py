"""What the tests on a GPU share: the device, the figures that they measure, and how they start tools."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

ROOT = Path(__file__).parents[2]
DEVICE = os.environ.get('MMDMT_GPU_DEVICE', 'cuda')
# Without a GPU, the plans are so short that they show that they run, and no more.
SHORT = {
    'dmt.supervised.iters': 2,
    'dmt.semi.epochs': 1,
    'dmt.semi.labeled_per_batch': 1,
    'dmt.semi.unlabeled_per_batch': 2,
    'dmt.unlabeled.indices': 6,
    'val_dataloader.dataset.indices': 4,
    'dmt.label_ratios': '0.5,',
    'dmt.report': False,
}


def pytest_collection_modifyitems(items: list) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(scope='session')
def device() -> torch.device:
    """The GPU; with ``MMDMT_GPU_DEVICE=cpu`` the CPU, to try the tests themselves."""
    if DEVICE == 'cuda' and not torch.cuda.is_available():
        pytest.skip('no GPU')
    return torch.device(DEVICE)


@pytest.fixture(scope='session')
def out(device, tmp_path_factory) -> Path:
    """Folder of what is measured."""
    folder = os.environ.get('MMDMT_GPU_OUT')
    if not folder:
        return tmp_path_factory.mktemp('gpu')
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)


@pytest.fixture(scope='session')
def figures(out, device) -> Callable:
    """``figures(name, value)``: keep what was measured, in ``figures.json``."""
    card = torch.cuda.get_device_name() if device.type == 'cuda' else 'CPU'
    path = out / 'figures.json'
    measured = json.loads(path.read_text()) if path.is_file() else {}
    measured.update(device=card, torch=torch.__version__)

    def keep(name: str, value: object) -> None:
        measured[name] = value
        path.write_text(json.dumps(measured, indent=1))

    return keep


def options(values: dict) -> list[str]:
    """Options of a command, as ``--cfg-options`` reads them."""
    return [f'{key}={value}' for key, value in values.items()]


@pytest.fixture(scope='session')
def start(out, device) -> Callable:
    """``start(name, *arguments, launcher=(), **environment)``: a training tool at work, its folder and its log."""

    def launch(name: str, *arguments: str, launcher: tuple[str, ...] = (), **environment: str) -> SimpleNamespace:
        log = out / f'{name}.log'
        command = [sys.executable, *launcher, ROOT / 'tools/train.py', *arguments, '--work-dir', out / name]
        hidden = {} if device.type == 'cuda' else {'CUDA_VISIBLE_DEVICES': ''}
        with open(log, 'w') as stream:
            process = subprocess.Popen(
                [*map(str, command)], cwd=ROOT, env={**os.environ, **hidden, **environment}, stdout=stream,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        return SimpleNamespace(process=process, folder=out / name, log=log)

    return launch


def finish(run: SimpleNamespace, timeout: float = 420) -> None:
    """Wait for a tool, which must succeed."""
    try:
        code = run.process.wait(timeout)
    except subprocess.TimeoutExpired:
        run.process.kill()
        raise
    assert code == 0, run.log.read_text()[-4000:]

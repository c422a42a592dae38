"""Kill tiny runs at random moments, resume them to the end, and compare what they leave with undisturbed runs.

    python tests/kills.py FOLDER [--kills 50] [--signal KILL] [--ranks 1]

FOLDER gets the runs. Each killed run is of one toolbox, one set of options and one number of workers, in turn. One line
a run says when it was killed and whether it ended equal: weights, averages, optimizer states, labels, records and
``best.pth``, bit for bit. The undisturbed runs load their data without workers. With ``--signal TERM``, ``INT``,
``USR1`` or ``USR2``, a run must also end with status 75.
"""

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]  # run from a clone, installed or not

from ranks import on_ranks  # beside this script

import mmdmt.cls
import mmdmt.seg  # noqa: F401
from mmdmt.engine import DMTRunner
from mmdmt.engine.stop_signals import EXIT_CODE, SIGNALS
from mmdmt.errors import UserError

COMMON = {
    'dmt.rehearse': False,
    'dmt.report': False,
    'dmt.keep_labels': True,
    'log_level': 'WARNING',
    'default_hooks.logger.interval': 1000,
    'val_dataloader.batch_size': 4,
    'test_dataloader.batch_size': 4,
}
MEASURED = ('seconds', 'cpu_seconds', 'memory_mib', 'checksum')  # entries of a record that may differ
SEGMENTATION = {
    **COMMON,
    'val_dataloader.dataset.indices': 8,
    'test_dataloader.dataset.indices': 8,
    'train_dataloader.batch_size': 4,
    'dmt.scheme': 'self',
    'dmt.models': dict(_delete_=True, a=dict()),
    'dmt.label_ratios': (0.5,),
    'dmt.labeled.indices': 7,
    'dmt.unlabeled.indices': 18,
    'dmt.supervised.iters': 18,
    'dmt.semi': dict(_delete_=True, iters=18, labeled_per_batch=2, unlabeled_per_batch=5),
}
CLASSIFICATION = {
    **COMMON,
    'val_dataloader.dataset.indices': 40,
    'test_dataloader.dataset.indices': 40,
    'train_dataloader.batch_size': 8,
    'dmt.label_ratios': (0.5, 1.0),
    'dmt.split.num_labeled': 20,
    'dmt.labeled.subset': 'val',
    'dmt.unlabeled.subset': 'val',
    'dmt.supervised.iters': 20,
    'dmt.semi': dict(_delete_=True, iters=20, labeled_per_batch=4, unlabeled_per_batch=12),
}
EMA = [dict(type='EMAHook', momentum=0.02, update_buffers=True)]
# Toolbox and options -> config and options.
KINDS = {
    'seg, last': ('fcn_digits.py', {**SEGMENTATION, 'custom_hooks': EMA, 'optim_wrapper.accumulative_counts': 2}),
    'seg, val': ('fcn_digits.py', {**SEGMENTATION, 'dmt.select': 'val'}),
    'cls, last': ('wrn10-1_digits.py', CLASSIFICATION),
    'cls, val': (
        'wrn10-1_digits.py',
        {
            **CLASSIFICATION,
            'dmt.select': 'val',
            'custom_hooks': [*EMA, dict(type='EarlyStoppingHook', monitor='accuracy/top1', patience=6)],
            'param_scheduler': [dict(type='ReduceOnPlateauLR', monitor='accuracy/top1', rule='greater', patience=1)],
        },
    ),
}
WORKERS = (0, 1, 3)


def config(kind: str, workers: int, work_dir: Path, resume: bool) -> Config:
    """Config of a run."""
    name, options = KINDS[kind]
    cfg = Config.fromfile(ROOT / 'configs/dmt' / name)
    cfg.merge_from_dict({**options, 'work_dir': str(work_dir), 'resume': resume})
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=workers, persistent_workers=workers > 0)
    return cfg


class Case(NamedTuple):
    """How runs are killed, and how many processes they have."""

    number: signal.Signals = signal.SIGKILL
    ranks: int = 1

    @property
    def status(self) -> int:
        """What a run ends with that the signal has reached in time."""
        return -signal.SIGKILL if self.number == signal.SIGKILL else EXIT_CODE


def train(kind: str, workers: int, work_dir: Path, launcher: str = 'none') -> int:
    """Run or resume a run in this process; return its status."""
    cfg = config(kind, workers, work_dir, resume=(work_dir / 'dmt.json').is_file())
    cfg.launcher = launcher
    try:
        DMTRunner(cfg).train()
    except SystemExit as stopped:
        return int(stopped.code or 0)
    except UserError as error:
        print(f'error: {error}', file=sys.stderr, flush=True)
        return error.status
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def train_on_ranks(ranks: int, kind: str, workers: int, work_dir: Path) -> int:
    """Run or resume a run on several processes, which signals shall reach, not this one; return the largest status."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    found = on_ranks(ranks, train, kind, workers, work_dir, 'pytorch', timeout=600)
    return max(1 if status is None else status for status in found)


def attempt(case: Case, kind: str, workers: int, work_dir: Path, kill_after: float | None = None) -> int:
    """Run or resume a run in processes of its own, and signal these after some seconds; return its status."""
    log = work_dir.parent / f'{work_dir.name}.log'
    child = os.fork()
    if child == 0:
        os.setsid()
        with log.open('a') as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        status = (
            train(kind, workers, work_dir) if case.ranks == 1 else train_on_ranks(case.ranks, kind, workers, work_dir)
        )
        sys.stderr.flush()
        os._exit(status)
    if kill_after is not None:
        time.sleep(kill_after)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, case.number)  # workers of the data loaders and other ranks too
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def content(work_dir: Path) -> dict[str, str]:
    """What a complete run leaves, as text or digest, without times and paths."""
    found = {'best.pth': _digest((work_dir / 'best.pth').read_bytes())}
    for path in sorted(work_dir.glob('0*/*')):
        key = f'{path.parent.name}/{path.name}'
        if path.name == 'phase.json':
            record = json.loads(path.read_text())
            found[key] = str({name: value for name, value in record.items() if name not in MEASURED})
            if 'checkpoint' in record:
                found[f'{path.parent.name}/checkpoint'] = _weights(path.parent / record['checkpoint'])
        elif path.name in ('labels', 'confidence'):
            found.update({f'{key}/{file.name}': _digest(file.read_bytes()) for file in path.iterdir()})
        elif path.name in ('labels.csv', 'labels.json', 'histogram.npz'):
            found[key] = _digest(path.read_bytes())
    return found


def _weights(path: Path) -> str:
    checkpoint = torch.load(path, weights_only=False)
    parts = [checkpoint.get(key) for key in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')]
    return _digest('\n'.join(f'{key} {value}' for part in parts for key, value in _leaves(part)).encode())


def _leaves(node: object, key: str = '') -> list[tuple[str, str]]:
    if isinstance(node, dict):
        return [leaf for name, value in node.items() for leaf in _leaves(value, f'{key}.{name}')]
    if isinstance(node, list | tuple):
        return [leaf for index, value in enumerate(node) for leaf in _leaves(value, f'{key}.{index}')]
    if torch.is_tensor(node):
        return [(key, _digest(node.contiguous().numpy().tobytes()))]
    return [(key, repr(node))]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def undisturbed(case: Case, kind: str, folder: Path) -> tuple[dict[str, str], float]:
    """What an undisturbed run leaves, and its seconds."""
    work_dir, start = folder / f'whole, {kind}', time.perf_counter()
    shutil.rmtree(work_dir, ignore_errors=True)
    status = attempt(case, kind, 0, work_dir)
    if status != 0:
        raise RuntimeError(f'{work_dir}.log: the undisturbed run ended with {status}')
    return content(work_dir), time.perf_counter() - start


def differences(
    case: Case, kind: str, workers: int, work_dir: Path, expected: dict[str, str], delay: float
) -> list[str] | None:
    """Kill a run after some seconds and resume it; name what differs. None: it had ended before."""
    shutil.rmtree(work_dir, ignore_errors=True)
    status = attempt(case, kind, workers, work_dir, delay)
    if status == 0:
        return None
    if status != case.status:
        return [f'killed run ended with {status}']
    status = attempt(case, kind, workers, work_dir)
    if status != 0:
        return [f'resumed run ended with {status}']
    found = content(work_dir)
    left = [path.name for path in work_dir.rglob('*.tmp')]
    return left + sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))


def kill_runs(folder: Path, kills: int, kinds: list[str], seed: int = 0, case: Case | None = None) -> list[str]:
    """Kill runs of all kinds in turn; print and return one line for each that did not end equal."""
    case = case or Case()
    folder.mkdir(parents=True, exist_ok=True)
    expected = {kind: undisturbed(case, kind, folder) for kind in kinds}
    rng, wrong, done = random.Random(seed), [], 0
    for kind, workers in itertools.cycle(itertools.product(kinds, WORKERS)):
        if done == kills:
            return wrong
        whole, seconds = expected[kind]
        work_dir, delay = folder / f'{kind}, {workers} workers', rng.uniform(0.02, 1) * seconds
        found = differences(case, kind, workers, work_dir, whole, delay)
        if found is None:
            continue
        done += 1
        line = f'{done}: {kind}, {workers} workers, killed after {delay:.1f} s: {"DIFFERS: " if found else "equal"}'
        line += ', '.join(found[:6])
        print(line, flush=True)
        wrong += [line] if found else []
        shutil.move(work_dir, f'{work_dir}, kill {done}') if found else shutil.rmtree(work_dir)
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--kills', type=int, default=50)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=list(KINDS))
    parser.add_argument('--signal', default='KILL')
    parser.add_argument('--ranks', type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    case = Case(signal.Signals[f'SIG{args.signal}'], args.ranks)
    wrong = kill_runs(args.folder, args.kills, args.kinds, args.seed, case)
    print(f'{args.kills - len(wrong)} of {args.kills} killed runs ended equal')
    sys.exit(bool(wrong))


if __name__ == '__main__':
    main()

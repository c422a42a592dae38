"""Whole runs on several processes: what they share, and what happens when one of them is lost."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.runner import IterBasedTrainLoop, ValLoop
from mmengine.runner import TestLoop as LabelLoop

import mmdmt.cls
import mmdmt.seg  # noqa: F401
from mmdmt.engine import DMTRunner
from mmdmt.engine.hooks import FiniteLossHook
from mmdmt.errors import LostProcessError
from mmdmt.labels import ImageLabelWriter, PseudoLabelWriter
from mmdmt.labels.maps import LabelMaps
from mmdmt.labels.store import sample_name
from mmdmt.labels.table import LabelTable
from tests.ranks import on_ranks, ranks
from tests.runs import state_dict
from tests.steps import SELF_TAUGHT

ROOT = Path(__file__).parents[1]
NUMBERS = (1, 2, 4)
CLASSIFICATION = {
    'dmt.rehearse': False,
    'train_dataloader.batch_size': 8,
    'val_dataloader.dataset.indices': 40,
    'test_dataloader.batch_size': 8,
    'test_dataloader.dataset.indices': 40,
    'dmt.label_ratios': (0.5,),
    'dmt.split.num_labeled': 20,
    'dmt.labeled.subset': 'val',
    'dmt.unlabeled.subset': 'val',
    'dmt.supervised.iters': 6,
    'dmt.semi': dict(_delete_=True, iters=6, labeled_per_batch=4, unlabeled_per_batch=4),
}


@pytest.fixture(scope='session')
def config(tiny_config):
    """``config(toolbox, work_dir, options)``: a run of one model that teaches itself once."""

    def make(toolbox, work_dir, options=None):
        if toolbox == 'seg':
            return tiny_config(work_dir, {**SELF_TAUGHT, 'test_dataloader.batch_size': 3, **(options or {})})
        cfg = Config.fromfile(ROOT / 'configs/dmt/wrn10-1_digits.py')
        cfg.merge_from_dict({**CLASSIFICATION, 'work_dir': str(work_dir), **(options or {})})
        return cfg

    return make


def train(cfg, phase=None):
    cfg.launcher = 'pytorch'
    DMTRunner(cfg).train(phase=phase)


# Labels


def label(cfg):
    """Label, and return the names of the images that this process has labeled."""
    named = []
    for writer in (PseudoLabelWriter, ImageLabelWriter):
        process = writer.process

        def noting(self, data_batch, data_samples, process=process):
            named.extend(sample_name(sample['sample_idx'], sample['img_path']) for sample in data_samples)
            process(self, data_batch, data_samples)

        writer.process = noting
    train(cfg, '01_label_a')
    return named


def files(folder):
    """Content of the label files of a folder, without those that hold times."""
    found = {path.relative_to(folder): path for path in folder.rglob('*') if path.is_file()}
    return {
        str(name): path.read_bytes()
        for name, path in found.items()
        if path.suffix in ('.png', '.npz', '.csv') or path.parent.name in ('labels', 'confidence')
        or path.name == 'labels.json'
    }  # fmt: skip


@pytest.mark.parametrize(
    ('toolbox', 'images'), [('seg', 5), pytest.param('seg', 101, marks=pytest.mark.slow), ('cls', 250)]
)
def test_labels_and_thresholds_do_not_depend_on_the_number_of_processes(config, tmp_path, toolbox, images):
    """Each image is labeled once; all files are equal, byte by byte. Of 5 images, two of 4 processes get no batch."""
    options = {'dmt.unlabeled.indices': images} if toolbox == 'seg' else {}
    work_dirs = [tmp_path / str(number) for number in NUMBERS]
    DMTRunner(config(toolbox, work_dirs[0], options)).train(phase='00_train_a')
    for other in work_dirs[1:]:
        shutil.copytree(work_dirs[0], other)
    for number, work_dir in zip(NUMBERS, work_dirs, strict=True):
        named = on_ranks(number, label, config(toolbox, work_dir, options))
        assert sorted(Counter(name for names in named for name in names).values()) == [1] * images
        assert (min(len(names) for names in named) > 0) == (images > 5 or number < 4)
    found = [files(work_dir / '01_label_a') for work_dir in work_dirs]
    assert len(found[0]) >= (2 * images if toolbox == 'seg' else 2)
    assert found[0] == found[1] == found[2]
    store = {'seg': LabelMaps, 'cls': LabelTable}[toolbox](work_dirs[2] / '01_label_a')
    assert len(store.names()) == images


def write_maps(folder):
    """Each of four processes (or one of two, or one) predicts maps of one class only, and one class nowhere."""
    number, rank = int(os.environ['WORLD_SIZE']), int(os.environ['RANK'])
    torch.distributed.init_process_group('gloo')
    writer = PseudoLabelWriter(num_classes=4, label_dir=str(folder / str(number)), label_ratio=0.5)
    for index in range(rank, 4, number):
        logits = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(index))
        logits[index % 3] += 20.0
        writer.process({}, [dict(seg_logits=dict(data=logits), img_path=f'{index}.png', sample_idx=index)])
    return writer.evaluate(4)


def test_class_that_a_process_never_predicts(tmp_path):
    figures = [on_ranks(number, write_maps, tmp_path) for number in NUMBERS]
    assert all(found == figures[0][0] for same in figures for found in same)
    info = LabelMaps(tmp_path / '4').info()
    assert info['pixels_by_class'] == [60, 30, 30, 0]
    assert files(tmp_path / '1') == files(tmp_path / '2') == files(tmp_path / '4')


# Training


def losses(cfg):
    """Losses of the steps of this process."""
    seen = []
    FiniteLossHook.after_train_iter = lambda self, runner, batch_idx, data_batch, outputs: seen.append(
        outputs['loss'].item()
    )
    train(cfg, '00_train_a')
    return seen


def test_first_steps_do_not_depend_on_the_number_of_processes(config, tmp_path):
    """The same 4 images, augmented alike, divided among the processes.

    The model has group norm instead of batch norm, which normalizes the images of each process, and no dropout.
    """
    norm = dict(_delete_=True, type='GN', num_groups=4)
    options = {'model.backbone.norm_cfg': norm, 'model.decode_head.norm_cfg': norm, 'dmt.supervised.iters': 2,
               'model.decode_head.dropout_ratio': 0.0, 'optim_wrapper.optimizer.lr': 0.01}  # fmt: skip
    found = {}
    for number in NUMBERS:
        cfg = config('seg', tmp_path / str(number), {**options, 'train_dataloader.batch_size': 4 // number})
        by_rank = on_ranks(number, losses, cfg)
        found[number] = [sum(step) / number for step in zip(*by_rank, strict=True)]
    assert found[2] == pytest.approx(found[1], rel=1e-6)
    assert found[4] == pytest.approx(found[1], rel=1e-6)
    weights = [state_dict(tmp_path / f'{number}/00_train_a/iter_2.pth') for number in NUMBERS]
    for other in weights[1:]:
        for name, value in weights[0].items():
            torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-6)


# Lost processes


def lose(cfg, loop, phase, step, victim, what):
    """Do something to a process (kill, stop) at a step of a loop of a phase."""
    original, calls = loop.run_iter, []

    def run_iter(self, *args):
        original(self, *args)
        if get_rank() == victim and Path(self.runner.work_dir).name == phase:
            calls.append(1)
            if len(calls) == step:
                os.kill(os.getpid(), what)

    loop.run_iter = run_iter
    train(cfg)


LOSSES = [
    ('seg', IterBasedTrainLoop, '00_train_a', 2),
    ('seg', ValLoop, '01_train_a', 1),
    ('cls', LabelLoop, '01_label_a', 1),
    ('cls', IterBasedTrainLoop, '01_train_a', 3),
]
SIGNALS = [signal.SIGKILL, signal.SIGSTOP]
SHORT = [(*LOSSES[0], signal.SIGKILL), (*LOSSES[2], signal.SIGSTOP)]
LONG = [(*loss, what) for loss in LOSSES for what in SIGNALS if (*loss, what) not in SHORT]
ALL = [*SHORT, *(pytest.param(*row, marks=pytest.mark.slow) for row in LONG)]


@pytest.mark.parametrize(('toolbox', 'loop', 'phase', 'step', 'what'), ALL)
def test_lost_process_ends_the_other_and_loses_nothing(config, tmp_path, toolbox, loop, phase, step, what):
    """A killed one at once, a stopped one after the time-out; the run then goes on."""
    cfg = config(toolbox, tmp_path, {'env_cfg.dist_cfg.timeout': 60 if what == signal.SIGKILL else 5})
    victim = 1 if phase == '01_train_a' else 0
    with ranks(2, lose, cfg, loop, phase, step, victim, what) as started:
        while _state(started[victim].process.pid) not in 'TZ':
            time.sleep(0.02)
        start = time.monotonic()
        error = started[1 - victim].result(10 if what == signal.SIGKILL else 15)
        assert time.monotonic() - start > (0 if what == signal.SIGKILL else 4)
    assert isinstance(error, LostProcessError), error
    assert f'process {1 - victim} of 2' in str(error)
    cfg.resume, cfg.env_cfg.dist_cfg.timeout = True, 60
    assert on_ranks(2, train, cfg) == [None, None]
    assert (tmp_path / 'best.pth').is_file()


def _state(pid):
    """Letter of the state of a process: T is stopped, Z dead."""
    return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]


LAUNCHED = """
import sys
import types

import mmengine.runner
from mmengine.config import Config
from mmdmt.command_line import run_tool

folder, config, loop, phase, step, what = sys.argv[1:]
sys.modules['tests'] = types.ModuleType('tests')  # other packages install one, too
sys.modules['tests'].__path__ = [folder]
from tests import test_ranks

loop = getattr(mmengine.runner, loop)
run_tool(lambda: test_ranks.lose(Config.fromfile(config), loop, phase, int(step), 1, int(what)))
"""


@pytest.mark.slow
@pytest.mark.parametrize('what', SIGNALS)
@pytest.mark.parametrize(('toolbox', 'loop', 'phase', 'step'), LOSSES)
def test_lost_process_of_a_launcher(config, tmp_path, toolbox, loop, phase, step, what):
    """The message is on the screen; torchrun itself gives a stopped process half a minute to end."""
    script, path = tmp_path / 'launched.py', tmp_path / 'config.py'
    script.write_text(LAUNCHED)
    config(toolbox, tmp_path / 'run', {'env_cfg.dist_cfg.timeout': 8}).dump(path)
    launch = ['-m', 'torch.distributed.run', '--nproc_per_node=2', '--rdzv-backend=c10d', '--rdzv-endpoint=localhost:0']
    command = [
        sys.executable,
        *launch,
        script,
        ROOT / 'tests',
        path,
        loop.__name__,
        phase,
        step,
        int(what),
    ]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=240, check=False,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
    )  # fmt: skip
    assert done.returncode != 0
    if what == signal.SIGSTOP or loop is IterBasedTrainLoop:  # torchrun's SIGTERM may stop the other one before
        assert done.stderr.count('error: process 0 of 2 (from 0) has ') == 1, done.stderr

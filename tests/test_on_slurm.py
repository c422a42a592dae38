"""Runs on a real SLURM, which `tests/slurm/start.sh` starts on this machine; skipped where it cannot be."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.runs import assert_same_weights, mtimes, run
from tests.steps import SELF_TAUGHT

ROOT = Path(__file__).parents[1]
PATIENCE = 600
"""Seconds that a job may take on a busy machine."""
# Long enough to be stopped in the middle; a step of each log.
LONG = {'dmt.supervised.iters': 400, 'dmt.label_ratios': (1.0,), 'default_hooks.logger.interval': 1}

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def cluster(tmp_path_factory):
    """A SLURM of two CPUs and two GPUs that are counted only; its jobs compute with one thread."""
    folder = tmp_path_factory.mktemp('slurm')
    started = run(ROOT / 'tests/slurm/start.sh', folder, program='bash')
    if started.returncode == 77:
        pytest.skip(started.stdout.splitlines()[-1])
    assert started.returncode == 0, started.stdout
    before = dict(os.environ)
    python = f'{Path(sys.executable).parent}:{os.environ["PATH"]}'
    os.environ.update(SLURM_CONF=str(folder / 'slurm.conf'), OMP_NUM_THREADS='1', PATH=python)
    yield folder
    run(ROOT / 'tests/slurm/stop.sh', folder, program='bash')
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def write(tiny_config, tmp_path):
    """``write(options)``: path of a config file."""

    def write(options):
        path = tmp_path / 'tiny.py'
        tiny_config(tmp_path / 'unused', options).dump(path)
        return path

    return write


def submit(config, work_dir, *options):
    """Submit a plan; the number of each job by its name."""
    tool = ROOT / 'tools/slurm_plan.py'
    done = run(tool, config, '--work-dir', work_dir, '--submit', '--cpus-per-task', 1, *options)
    assert done.returncode == 0, done.stdout
    return {line.split(':')[0]: line.split()[2].rstrip(',') for line in done.stdout.splitlines()}


def slurm(*command):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, timeout=60).stdout


def states(jobs):
    """State of each job by its name, those included that have ended."""
    found = dict(line.split() for line in slurm('squeue', '--noheader', '--states=all', '--format=%A %T').splitlines())
    return {name: found[number] for name, number in jobs.items()}


def wait(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.2)


def ended(jobs):
    """States of jobs, once all have ended."""
    wait(lambda: not {'PENDING', 'RUNNING', 'COMPLETING'} & set(states(jobs).values()), 'jobs do not end')
    return states(jobs)


def log(work_dir, name):
    path = work_dir / f'slurm/{name}.log'
    return path.read_text() if path.is_file() else ''


def steps(work_dir, name):
    """The logs of a phase, one of each job that it has had."""
    return ''.join(path.read_text() for path in (work_dir / name).glob('*/*.log'))


def wait_for_step(work_dir, name, step):
    wait(lambda: f'Iter(train) [{step:3d}/' in steps(work_dir, name), f'{name} does not come to step {step}')


def test_stopped_jobs_end_as_a_run_without_slurm(cluster, write, tmp_path):
    """Both baselines run side by side; one is requeued in its middle, the time of the other is nearly over."""
    config, work_dir = write(LONG), tmp_path / 'run'
    jobs = submit(config, work_dir)
    assert len(jobs) == 7
    for name, stop in (
        ('00_train_a', ['scontrol', 'requeue']),
        ('00_train_b', ['scancel', '--batch', '--signal=USR1']),
    ):
        wait_for_step(work_dir, name, 5)
        slurm(*stop, jobs[name])
    assert set(ended(jobs).values()) == {'COMPLETED'}
    for name in ('00_train_a', '00_train_b'):
        assert log(work_dir, name).count('its state is saved, and --resume continues it') == 1
        assert log(work_dir, name).count('Resuming from ') == 1
        assert steps(work_dir, name).count('Iter(train) [  5/400]') == 1
    again = run(ROOT / 'tools/slurm_plan.py', config, '--work-dir', work_dir, '--submit')
    assert again.stdout.startswith('All phases are complete, and the result is ')
    plain = run(ROOT / 'tools/train.py', config, '--work-dir', tmp_path / 'plain', timeout=PATIENCE)
    assert plain.returncode == 0, plain.stdout
    for name in ('best.pth', '01_train_a/iter_4.pth', '01_train_b/iter_4.pth'):
        assert_same_weights(work_dir / name, tmp_path / 'plain' / name)


def test_preempted_job_goes_on(cluster, write, tmp_path):
    """A job of a partition that comes first takes both CPUs; a job with a time of grace gets the signal in it."""
    config, work_dir = write({**SELF_TAUGHT, **LONG}), tmp_path / 'run'
    jobs = submit(config, work_dir, '--partition=graceful')
    wait_for_step(work_dir, '00_train_a', 5)
    slurm('sbatch', '--partition=urgent', '--cpus-per-task=2', '--output=/dev/null', '--wrap=true')
    assert set(ended(jobs).values()) == {'COMPLETED'}
    assert log(work_dir, '00_train_a').count('Resuming from ') == 1
    assert (work_dir / 'best.pth').is_file()


def test_failed_job_cancels_those_that_need_it(cluster, write, tmp_path):
    """A second plan is of these only; while jobs are left, there is none."""
    config, work_dir = write(SELF_TAUGHT), tmp_path / 'run'
    work_dir.mkdir()
    (work_dir / '01_label_a').write_text('in the way')
    jobs = submit(config, work_dir)
    again = run(ROOT / 'tools/slurm_plan.py', config, '--work-dir', work_dir)
    assert (again.returncode, f'{work_dir} has jobs in the queue: ' in again.stdout) == (2, True)
    assert ended(jobs) == {'00_train_a': 'COMPLETED', '01_label_a': 'FAILED', '01_train_a': 'CANCELLED'}
    (work_dir / '01_label_a').unlink()
    before = mtimes(work_dir, '00_train_a/*')
    jobs = submit(config, work_dir)
    assert ended(jobs) == {'01_label_a': 'COMPLETED', '01_train_a': 'COMPLETED'}
    assert mtimes(work_dir, '00_train_a/*') == before
    assert (work_dir / 'best.pth').is_file()


def test_canceled_job_is_not_queued_again(cluster, write, tmp_path):
    work_dir = tmp_path / 'run'
    jobs = submit(write({**SELF_TAUGHT, **LONG}), work_dir)
    wait_for_step(work_dir, '00_train_a', 3)
    slurm('scancel', jobs['00_train_a'])
    assert set(ended(jobs).values()) == {'CANCELLED'}
    assert 'its state is saved, and --resume continues it' in log(work_dir, '00_train_a')


def two_tasks(script, *arguments):
    """Run a tool as two processes, which join by gloo without a GPU."""
    given = dict(GPUS='2', GPUS_PER_NODE='2', CPUS_PER_TASK='1')
    done = run(ROOT / 'tools' / script, 'batch', 'tiny', *arguments, program='bash', timeout=PATIENCE, **given)
    assert done.returncode == 0, done.stdout


def test_processes_that_srun_starts(cluster, write, tmp_path):
    """In a plan as with tools/slurm_train.sh; tools/slurm_test.sh measures what one process measures."""
    config = write({**SELF_TAUGHT, 'dmt.supervised.iters': 2, 'train_dataloader.batch_size': 1})
    two_tasks('slurm_train.sh', config, '--work-dir', tmp_path / 'srun', '--phase', '00_train_a')
    jobs = submit(config, tmp_path / 'plan', '--gpus=2')
    assert set(ended(jobs).values()) == {'COMPLETED'}
    assert_same_weights(tmp_path / 'srun/00_train_a/iter_2.pth', tmp_path / 'plan/00_train_a/iter_2.pth')
    two_tasks('slurm_test.sh', tmp_path / 'plan', tmp_path / 'plan/best.pth', '--json', tmp_path / 'two.json')
    done = run(ROOT / 'tools/test.py', tmp_path / 'plan', '--json', tmp_path / 'one.json')
    assert done.returncode == 0, done.stdout
    assert (tmp_path / 'two.json').read_text() == (tmp_path / 'one.json').read_text()

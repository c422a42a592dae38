import json
import os
import subprocess
from pathlib import Path

import pytest
from mmengine.config import Config

from mmdmt.core.schedule import plan
from mmdmt.engine import slurm
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.plan import RunPlan
from mmdmt.errors import InUseError, UserError
from mmdmt.files import checksum
from tests.steps import SELF_TAUGHT

TRAIN = ('python', '-u', 'train.py')
# Prints a number and logs its arguments, one a line; a job with the name in the file `refused` is refused.
SBATCH = """#!/usr/bin/env bash
cd "$(dirname "$0")"
for argument in "$@"; do
    [ "$argument" != --job-name=run-"$(cat refused 2> /dev/null)" ] || { echo 'sbatch: error: bad job' >&2; exit 1; }
done
printf '%s\\n' "$@" end >> jobs
echo "$((100 + $(grep -c '^end$' jobs)));cluster1"
"""
LOGGED = '#!/usr/bin/env bash\nprintf "%s\\n" "$@" >> "$(dirname "$0")/$(basename "$0").log"\n'


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A folder in PATH with an sbatch, a squeue and a scancel that log what they are called with."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    for name, text in dict(sbatch=SBATCH, scancel=LOGGED, squeue='#!/bin/sh\ncat "$(dirname "$0")/queue"\n').items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / 'queue').write_text('')
    monkeypatch.setenv('PATH', f'{folder}:{os.environ["PATH"]}')
    return folder


def complete(work_dir, name, **record):
    (work_dir / name).mkdir(parents=True, exist_ok=True)
    (work_dir / name / 'phase.json').write_text(json.dumps(dict(phase=name, **record)))


def begin(cfg, *phases):
    """Leave what a run has written once some phases are complete."""
    work_dir = Path(cfg.work_dir)
    Manifest(work_dir, RunPlan.of(cfg).phases).start(cfg)
    for name in phases:
        path = work_dir / name / 'iter_4.pth'
        path.parent.mkdir()
        path.write_bytes(b'weights')
        (path.parent / 'inputs.json').write_text('{"run": {}, "inputs": {}}')
        complete(work_dir, name, checkpoint=path.name, checksum=checksum(path))


def write_plan(cfg, *options, **resources):
    found = []
    path, jobs = slurm.write_plan(cfg, slurm.Resources(options=options, **resources), TRAIN, found.append)
    return path, jobs, found


def submitted(cluster):
    """Arguments of each job that was submitted."""
    jobs, lines = [], (cluster / 'jobs').read_text().splitlines()
    while lines:
        end = lines.index('end')
        jobs.append(lines[:end])
        del lines[: end + 1]
    return jobs


# Which jobs there are


def test_both_models_of_an_iteration_run_side_by_side(tmp_path):
    assert slurm.jobs(Manifest(tmp_path, plan('mutual', ['a', 'b'], [0.5, 1.0]))) == [
        ('00_train_a', ()),
        ('00_train_b', ()),
        ('01_label_a', ('00_train_a',)),
        ('01_train_b', ('00_train_b', '01_label_a')),
        ('01_label_b', ('00_train_b',)),
        ('01_train_a', ('00_train_a', '01_label_b')),
        ('02_label_a', ('01_train_a',)),
        ('02_train_b', ('01_train_b', '02_label_a')),
        ('02_label_b', ('01_train_b',)),
        ('02_train_a', ('01_train_a', '02_label_b')),
        ('result', ('02_train_a', '02_train_b')),
    ]


def test_complete_phases_are_left_out(tmp_path):
    for name in ('00_train_a', '00_train_b', '01_label_b'):
        complete(tmp_path, name)
    assert slurm.jobs(Manifest(tmp_path, plan('mutual', ['a', 'b'], [1.0]))) == [
        ('01_label_a', ()),
        ('01_train_b', ('01_label_a',)),
        ('01_train_a', ()),
        ('result', ('01_train_a', '01_train_b')),
    ]


@pytest.mark.parametrize(
    ('scheme', 'ratios', 'baseline', 'expected'),
    [
        ('single', (), False, [('01_train_a', ())]),
        ('single', (), True, [('00_train_a', ()), ('01_train_a', ('00_train_a',))]),
        ('chain', (1.0,), True, [('00_train_a', ()), ('01_label_a', ('00_train_a',)), ('01_train_a', ('01_label_a',))]),
    ],
)
def test_a_last_phase_writes_the_result(tmp_path, scheme, ratios, baseline, expected):
    assert slurm.jobs(Manifest(tmp_path, plan(scheme, ['a'], ratios, baseline=baseline))) == expected


def test_result_of_a_complete_run(tmp_path):
    phases = plan('mutual', ['a', 'b'], [1.0])
    for phase in phases:
        complete(tmp_path, phase.name)
    assert slurm.jobs(Manifest(tmp_path, phases)) == [('result', ())]
    (tmp_path / 'best.pth').touch()
    assert slurm.jobs(Manifest(tmp_path, phases)) == []


# What they are submitted with


def test_options_of_a_job():
    found = slurm.Resources('a100:4', nodes=2, cpus_per_task=8, options=('--partition=gpu', '-t', '3')).sbatch()
    assert found[:4] == ['--nodes=2', '--ntasks-per-node=4', '--cpus-per-task=8', '--gres=gpu:a100:4']
    assert found[4:] == ['--requeue', '--open-mode=append', '--signal=B:USR1@120', '--partition=gpu', '-t', '3']
    assert slurm.Resources('0').sbatch()[1:4] == ['--ntasks-per-node=1', '--cpus-per-task=5', '--requeue']


@pytest.mark.parametrize(
    ('resources', 'message'),
    [
        (dict(gpus='many'), '--gpus many: must be'),
        (dict(gpus='-1'), '--gpus -1: must be'),
        (dict(nodes=0), '--nodes 0: must be 1 or more'),
        (dict(cpus_per_task=-2), '--cpus-per-task -2: must be 1 or more'),
        *((dict(options=(option,)), f'{option}: the plan sets this option') for option in
          ('--dependency=afterok:3', '--array=0-3', '-d', '-n4', '--ntasks', '--gres=gpu:2', '--wrap=x')),
    ],
)  # fmt: skip
def test_option_that_is_refused(resources, message):
    with pytest.raises(UserError, match=message):
        slurm.Resources(**resources).sbatch()


def test_jobs_are_submitted_after_those_that_they_need(tiny_config, tmp_path, cluster):
    """All in the folder of the caller, with the copy of the config, in a work dir whose path needs quoting."""
    work_dir = tmp_path / "it's 100%" / 'run'
    cfg = tiny_config(work_dir, {'dmt.label_ratios': (1.0,)})
    path, jobs, found = write_plan(cfg, '--time=9')
    assert (path, found, len(jobs)) == (work_dir / 'slurm/plan.sh', [], 7)
    lines = slurm.submit(path).splitlines()
    assert lines[0] == '00_train_a: job 101'
    assert lines[3] == '01_train_b: job 104, after 102:103'
    assert lines[6] == 'result: job 107, after 106:104'
    found = submitted(cluster)
    job, config, log = work_dir / 'slurm/job.sh', work_dir / 'slurm/config.py', tmp_path / "it's 100%%/run/slurm"
    command = [str(job), *TRAIN, str(config), '--work-dir', str(work_dir), '--resume']
    options = slurm.Resources(options=('--time=9',)).sbatch()
    assert found[0] == [
        '--parsable', '--job-name=run-00_train_a', f'--output={log}/00_train_a.log', *options, *command, '--phase',
        '00_train_a',
    ]  # fmt: skip
    after = ['--dependency=afterok:102:103', '--kill-on-invalid-dep=yes']
    assert found[3][3:] == [*options, *after, *command, '--phase', '01_train_b']
    assert found[6][1] == '--job-name=run-result'
    assert found[6][-1] == '--resume'
    assert RunPlan.of(Config.fromfile(config)).phases == RunPlan.of(cfg).phases


def test_several_processes_join_by_slurm(tiny_config, tmp_path, cluster):
    slurm.submit(write_plan(tiny_config(tmp_path / 'run', SELF_TAUGHT), gpus='2')[0])
    assert [job[job.index('--resume') :] for job in submitted(cluster)] == [
        ['--resume', '--launcher', 'slurm', '--phase', name] for name in ('00_train_a', '01_label_a', '01_train_a')
    ]


def test_all_jobs_or_none(tiny_config, tmp_path, cluster):
    path, *_ = write_plan(tiny_config(tmp_path / 'run', SELF_TAUGHT))
    (cluster / 'refused').write_text('01_train_a')
    with pytest.raises(UserError, match=r'^no job is submitted: sbatch: error: bad job$'):
        slurm.submit(path)
    assert sorted((cluster / 'scancel.log').read_text().split()) == ['101', '102']


def test_without_slurm(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', '/nowhere')
    path, *_ = write_plan(tiny_config(tmp_path / 'run'))
    with pytest.raises(UserError, match=f'needs sbatch, which is not on this host; on one of a cluster: bash {path}'):
        slurm.submit(path)


def test_jobs_of_an_earlier_plan(tiny_config, tmp_path, cluster):
    """Their config is not overwritten; jobs of others do not matter."""
    cfg = tiny_config(tmp_path / 'run')
    config = write_plan(cfg)[0].with_name('config.py')
    (cluster / 'queue').write_text(f'7 PENDING {tmp_path}/other/slurm/job.sh x y\n8 RUNNING (null)\n9 RUNNING\n')
    write_plan(cfg)
    (cluster / 'queue').write_text(f'7 PENDING {tmp_path}/run/slurm/job.sh x y\n')
    config.write_text('kept')
    with pytest.raises(InUseError, match=r'run has jobs in the queue: 7 \(PENDING\)\. Wait for them, or scancel them'):
        write_plan(cfg)
    assert config.read_text() == 'kept'


def test_damaged_phase_is_planned_again(tiny_config, tmp_path):
    cfg = tiny_config(tmp_path / 'run', SELF_TAUGHT)
    begin(cfg, '00_train_a')
    assert [job.name for job in write_plan(cfg)[1]] == ['01_label_a', '01_train_a']
    (tmp_path / 'run/00_train_a/iter_4.pth').write_bytes(b'weight?')
    _, jobs, found = write_plan(cfg)
    assert [job.name for job in jobs] == ['00_train_a', '01_label_a', '01_train_a']
    assert len(found) == 1
    assert 'iter_4.pth is damaged or changed: phase 00_train_a is run again' in found[0]


def test_config_that_is_none_of_dmt(tmp_path):
    with pytest.raises(
        UserError, match='the config has no runner_type of DMT, so it is none of DMT: tools/slurm_train'
    ):
        write_plan(Config(dict(work_dir=str(tmp_path / 'run'), dmt=dict())))
    assert not (tmp_path / 'run').exists()


# The script of a job


def run_job(tmp_path, cluster, command, state='RUNNING', preempted='None', script=slurm.JOB):
    """Status of the script of a job whose command is a text of bash, and what it calls scontrol with at last."""
    show = f'[ "$1" != show ] || {{ echo "  PreemptTime={preempted}"; exit; }}\n'
    for name, text in dict(srun='shift 2; exec "$@"', squeue=f'echo {state}', scontrol=show + LOGGED).items():
        (cluster / name).write_text(f'#!/usr/bin/env bash\n{text}\n')
        (cluster / name).chmod(0o755)
    path, log = tmp_path / 'job.sh', cluster / 'scontrol.log'
    path.write_text(script)
    done = subprocess.run(
        ['bash', path, 'bash', '-c', command], env=dict(os.environ, SLURM_JOB_ID='12'), capture_output=True,
        text=True, check=False, timeout=20,
    )  # fmt: skip
    assert done.stderr == ''
    return done.returncode, log.read_text().split() if log.exists() else []


ASKED = {
    'time': 'trap "stopped=yes" USR1; kill -USR1 $PPID; until [ "$stopped" ]; do sleep 0.01; done; exit 75',
    'node': 'trap "" USR1; kill -TERM $PPID; sleep 0.2; exit 75',  # as a step that listens, it may be told again
    'before it listens': 'kill -USR1 $PPID; exec sleep 20',
}


@pytest.mark.parametrize('command', ASKED)
def test_job_that_slurm_asks_to_stop_is_queued_again(tmp_path, cluster, command):
    status, called = run_job(tmp_path, cluster, ASKED[command])
    assert (status, called) == (138 if command == 'before it listens' else 75, ['requeue', '12'])


def test_job_that_is_asked_to_stop_while_its_step_starts(tmp_path, cluster):
    late = slurm.JOB.replace('step=$!\n', 'sleep 0.5; step=$!\n')
    assert late != slurm.JOB
    assert run_job(tmp_path, cluster, ASKED['before it listens'], script=late) == (138, ['requeue', '12'])


def test_job_in_its_time_of_grace(tmp_path, cluster):
    assert run_job(tmp_path, cluster, 'exit 75', preempted='2026-11-27T07:27:35') == (75, ['requeue', '12'])


@pytest.mark.parametrize('state', ['COMPLETING', 'PENDING', ''])
def test_job_that_was_canceled(tmp_path, cluster, state):
    assert run_job(tmp_path, cluster, ASKED['node'], state) == (75, [])


@pytest.mark.parametrize('status', [0, 1, 2, 75, 137])
def test_job_that_fails_or_stops_by_itself(tmp_path, cluster, status):
    """75: a process that has lost another one, or that srun stops because another one has failed."""
    assert run_job(tmp_path, cluster, f'exit {status}') == (status, [])


def test_complete_job_that_was_asked_to_stop(tmp_path, cluster):
    assert run_job(tmp_path, cluster, 'trap "" USR1; kill -TERM $PPID; sleep 0.2') == (0, [])

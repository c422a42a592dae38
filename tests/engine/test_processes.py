import os
import signal
import time

import pytest
import torch
from mmengine.config import Config
from mmengine.dist import barrier, get_rank

from mmdmt.engine import processes
from mmdmt.engine.processes import first_alone, join_processes, lost_processes_named, use_processes
from mmdmt.errors import LostProcessError, UserError
from tests.ranks import on_ranks, ranks

JOINED = ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')


def config(**dist_cfg):
    return Config(dict(launcher='pytorch', env_cfg=dict(dist_cfg=dict(backend='nccl', **dist_cfg))))


def meet(cfg, number):
    """Meet the other processes a number of times."""
    with lost_processes_named(cfg):
        join_processes(cfg)
        for _ in range(number):
            barrier()
            time.sleep(0.01)


def meet_until(cfg, number, victim, what):
    """Do something to one process once all have met a number of times."""
    if int(os.environ['RANK']) == victim:
        meet(cfg, number)
        os.kill(os.getpid(), what)
    meet(cfg, 10**6)


def others(cfg, victim, what, within):
    """Results of those processes of three that nothing is done to, which must come within some seconds."""
    start = time.monotonic()
    with ranks(3, meet_until, cfg, 5, victim, what) as started:
        found = [rank.result(within) for number, rank in enumerate(started) if number != victim]
        assert time.monotonic() - start < within
    return found


@pytest.mark.parametrize('victim', [0, 2])
def test_killed_process_ends_the_others(victim):
    found = others(config(), victim, signal.SIGKILL, within=10)
    assert [type(error) for error in found] == [LostProcessError] * 2
    assert str(found[0]).startswith(
        f'process {min({0, 1, 2} - {victim})} of 3 (from 0) has lost the connection to another one, which has ended'
    )
    assert str(found[0]).endswith('All processes end; continue with --resume')
    assert '\n' not in str(found[0])


@pytest.mark.parametrize('victim', [0, 2])
def test_stopped_process_ends_the_others_after_the_timeout(victim):
    """One of them may notice that the other has ended before its own time is over."""
    found = others(config(timeout=1.5), victim, signal.SIGSTOP, within=12)
    assert [type(error) for error in found] == [LostProcessError] * 2
    text = 'has waited 1.5 s for another one, which is stopped, hangs, or needs longer than env_cfg.dist_cfg.timeout'
    assert any(text in str(error) for error in found)


def test_timeout_of_gloo(monkeypatch):
    """It is 10 minutes, as that of NCCL, not half an hour."""
    given = []
    monkeypatch.setattr(torch.distributed, 'init_process_group', lambda backend, timeout: given.append(timeout))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    for cfg in (config(timeout=None), config(timeout=60), Config(dict(launcher='pytorch'))):
        join_processes(cfg)
    join_processes(Config(dict(launcher='none')))
    assert [timeout.total_seconds() for timeout in given] == [600, 60, 600]


def test_settings_of_a_gpu(monkeypatch, slurm_task):
    given = []
    monkeypatch.setattr(processes, 'init_dist', lambda launcher, **settings: given.append((launcher, settings)))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    join_processes(config(init_method='env://'))
    join_processes(Config(dict(launcher='slurm', env_cfg=dict(dist_cfg=dict(backend='gloo', timeout=9)))))
    assert given == [
        ('pytorch', dict(backend='nccl', init_method='env://', timeout=600.0)),
        ('slurm', dict(backend='gloo', timeout=9.0)),
    ]


@pytest.fixture
def slurm_task(monkeypatch):
    """``slurm_task(key=value)``: the environment of the second task of a step of two; None removes a key."""
    monkeypatch.setattr(os, 'environ', dict(os.environ))

    def start(**changes):
        found = dict(PROCID=1, LOCALID=1, NTASKS=2, STEP_NODELIST='gpu7', JOB_ID=3000, STEP_ID=2) | changes
        for key in (
            'RANK',
            'LOCAL_RANK',
            'WORLD_SIZE',
            'MASTER_ADDR',
            'MASTER_PORT',
            *(f'SLURM_{key}' for key in found),
        ):
            os.environ.pop(key, None)
        os.environ.update({f'SLURM_{key}': str(value) for key, value in found.items() if value is not None})

    start()
    return start


def joined_by_slurm(monkeypatch):
    """What torch finds in the environment when the processes of a job without a GPU join."""
    seen = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(
        torch.distributed, 'init_process_group', lambda *_, **__: seen.extend(os.environ[key] for key in JOINED)
    )
    join_processes(Config(dict(launcher='slurm')))
    return seen


def test_processes_of_slurm(monkeypatch, slurm_task):
    assert joined_by_slurm(monkeypatch) == [
        '1',
        '1',
        '2',
        'gpu7',
        str(15000 + 3002),
    ]  # 3000 * 16 + 2 is 3 * 15000 + 3002


def test_jobs_on_a_node_do_not_meet(monkeypatch, slurm_task):
    """Neither jobs that follow each other nor steps of a job have the same port; one that is set is kept."""
    ports = []
    for job, step in ((7, 0), (7, 1), (8, 0), (2_000_000_007, 0)):
        slurm_task(JOB_ID=job, STEP_ID=step)
        ports.append(int(joined_by_slurm(monkeypatch)[-1]))
    assert len(set(ports)) == 4
    assert all(15000 <= port < 30000 for port in ports)
    slurm_task()
    os.environ.update(MASTER_ADDR='head', MASTER_PORT='4000')
    assert joined_by_slurm(monkeypatch)[3:] == ['head', '4000']


def test_first_host_of_several(monkeypatch, slurm_task, tmp_path):
    program = tmp_path / 'scontrol'
    program.write_text('#!/bin/sh\n[ "$1 $2 $3" = "show hostnames gpu[3-4],a" ] && printf "gpu3\\ngpu4\\na\\n"\n')
    program.chmod(0o755)
    slurm_task(STEP_NODELIST='gpu[3-4],a')
    os.environ['PATH'] = f'{tmp_path}:{os.environ["PATH"]}'
    assert joined_by_slurm(monkeypatch)[3] == 'gpu3'


def test_without_srun(monkeypatch, slurm_task):
    slurm_task(PROCID=None)
    with pytest.raises(UserError, match='srun has started, but SLURM_PROCID is not set'):
        joined_by_slurm(monkeypatch)


@pytest.mark.parametrize('value', [0, -1, 'long', True, float('nan'), float('inf'), 86401])
def test_timeout_that_is_none(value):
    with pytest.raises(UserError, match=r'^env_cfg\.dist_cfg\.timeout=.* must be a number of seconds above 0, at '):
        join_processes(config(timeout=value))


@pytest.mark.parametrize('error', [RuntimeError('[/src/gloo/pair.cc:5] closed'), torch.distributed.DistError('lost')])
def test_one_process_has_lost_none(error):
    with pytest.raises(RuntimeError) as raised, lost_processes_named(Config(dict(launcher='none'))):
        raise error
    assert raised.value is error


def come_alone(cfg):
    if os.environ['RANK'] == '0':
        meet(cfg, 1)


def test_process_that_never_comes():
    with ranks(2, come_alone, config(timeout=1.5)) as (first, _):
        error = first.result(20)
    assert isinstance(error, LostProcessError)
    assert str(error).startswith('process 0 of 2 (from 0) has waited 1.5 s for another one')


def raise_own(cfg):
    with lost_processes_named(cfg):
        join_processes(cfg)
        raise RuntimeError('mine')


def test_own_errors_are_not_changed():
    with pytest.raises(RuntimeError, match=r'^mine$'):
        on_ranks(2, raise_own, config())


def work_longer_than_the_timeout(cfg):
    join_processes(cfg)
    done = []
    first_alone(lambda: (time.sleep(2), done.append(get_rank())))
    barrier()
    return done, time.monotonic()


def test_work_of_the_first_process_may_take_longer_than_the_timeout():
    (done, first), (nothing, second) = on_ranks(2, work_longer_than_the_timeout, config(timeout=1))
    assert (done, nothing) == ([0], [])
    assert abs(first - second) < 1


def test_one_process_works_alone():
    done = []
    first_alone(lambda: done.append(1))
    assert done == [1]


def fail_alone(cfg):
    def fail():
        raise UserError('the data is wrong')

    with lost_processes_named(cfg):
        join_processes(cfg)
        first_alone(fail)


def test_failure_of_the_first_process_ends_the_others():
    with ranks(2, fail_alone, config()) as started:
        found = [rank.result(20) for rank in started]
    assert [type(error) for error in found] == [UserError, LostProcessError]


@pytest.mark.parametrize('wrapper', [None, dict(type='Own')])
def test_phase_uses_the_processes_of_the_run(monkeypatch, wrapper):
    monkeypatch.setattr(processes, 'is_distributed', lambda: True)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    cfg = Config(dict(find_unused_parameters=True, model_wrapper_cfg=wrapper))
    use_processes(cfg, config())
    assert cfg.launcher == 'pytorch'
    expected = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False,
                    find_unused_parameters=True)  # fmt: skip
    assert cfg.model_wrapper_cfg == (wrapper or expected)


def test_phase_of_one_process():
    cfg = Config({})
    use_processes(cfg, Config({}))
    assert dict(cfg) == dict(launcher='none')

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


def test_settings_of_a_gpu(monkeypatch):
    given = []
    monkeypatch.setattr(processes, 'init_dist', lambda launcher, **settings: given.append((launcher, settings)))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    join_processes(config(init_method='env://'))
    join_processes(Config(dict(launcher='slurm', env_cfg=dict(dist_cfg=dict(backend='gloo', timeout=9)))))
    assert given == [
        ('pytorch', dict(backend='nccl', init_method='env://', timeout=600.0)),
        ('slurm', dict(backend='gloo', timeout=9.0)),
    ]


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

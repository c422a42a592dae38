from types import SimpleNamespace

import pytest
from mmengine.config import Config

from mmdmt.core.schedule import plan
from mmdmt.engine import DMTRunner, rehearsal
from mmdmt.engine.pace import Pace, kind_of, work_of, workers_of
from tests.steps import SELF_TAUGHT

PHASES = plan('self', ['a'], [0.5, 1.0])


def resolved(phase):
    config = Config(dict(train_dataloader=dict(batch_size=4), train_cfg=dict(max_iters=10, val_interval=4),
                         val_dataloader=dict(dataset=dict(type='X'))))  # fmt: skip
    return SimpleNamespace(phase=phase, steps=10 if phase.kind == 'train' else 0, config=config)


@pytest.fixture
def data():
    """10 steps of 4 images a train phase, 3 validations of 5 images, 100 images to label."""
    settings = SimpleNamespace(supervised_checkpoint=lambda phase: None)
    return SimpleNamespace(
        phases={phase.name: resolved(phase) for phase in PHASES},
        models=dict(a=SimpleNamespace(num_unlabeled=100)),
        plan=SimpleNamespace(settings=settings),
        dataset=lambda config, key: range(5),
    )


def measured(number=3):
    pace = Pace()
    for phase, work, validation in list(zip(PHASES, (0.5, 0.1, 1.0), (0.2, None, 0.3), strict=False))[:number]:
        pace.add(phase, SimpleNamespace(work=work, validation=validation), seconds=2.0)
    return pace


def test_time_of_each_phase(data):
    pace = measured()
    # The last validation that was measured counts: 3 of 5 images, 0.3 s each. Each phase starts and ends in 2 s.
    expected = [10 * 4 * 0.5 + 4.5 + 2, 10.0 + 2, 10 * 4 * 1.0 + 4.5 + 2, 12.0, 46.5]
    assert [pace.seconds(data, phase) for phase in PHASES] == pytest.approx(expected)
    assert pace.by_kind(data) == pytest.approx(dict(supervised=2.65, label=0.12, semi=4.65))


def test_line_of_the_plan(data):
    manifest = SimpleNamespace(phases=PHASES, is_complete=lambda name: name == '00_train_a')
    assert measured().describe(manifest, data).startswith('time: roughly 0:01:57, from one step')  # 12 + 46.5, twice
    assert measured(2).describe(manifest, data) == 'time: not estimated (01_train_a was not tried)'
    assert Pace().describe(manifest, data) == 'time: not estimated (no phase was tried for a step)'
    assert not Pace().measured
    assert Pace().by_kind(data) == {}


def test_phase_that_a_checkpoint_replaces_takes_no_time(data):
    data.plan.settings.supervised_checkpoint = lambda phase: 'x.pth' if phase.supervised else None
    assert work_of(data, PHASES[0]) == 0
    assert Pace().seconds(data, PHASES[0]) == 0.0
    assert [kind_of(phase) for phase in PHASES[:3]] == ['supervised', 'label', 'semi']


def test_workers():
    assert workers_of(dict(train_dataloader=dict(num_workers=3))) == 3
    assert workers_of(dict(train_dataloader=None)) == 0


def test_dry_run_tells_the_time(tiny_config, tmp_path, monkeypatch):
    cfg = tiny_config(tmp_path, {**SELF_TAUGHT, 'dmt.rehearse': True})
    text = DMTRunner(cfg).dry_run()
    assert '\ntime: roughly 0:0' in text
    monkeypatch.setattr(rehearsal, 'PATIENCE', -1.0)
    monkeypatch.setattr(rehearsal, 'is_cuda_available', lambda: False)
    assert '\ntime: not estimated (no phase was tried for a step)\n' in DMTRunner(cfg).dry_run()


def test_memory_of_the_phase_that_needs_most(data):
    pace = measured()
    assert pace.describe_memory() == ''
    for phase, memory in zip(PHASES, (900, None, 1234), strict=False):
        pace.add(phase, SimpleNamespace(work=1.0, validation=None), 2.0, memory)
    assert pace.describe_memory().startswith(f'GPU memory: about 1,234 MiB at most ({PHASES[2].name})')

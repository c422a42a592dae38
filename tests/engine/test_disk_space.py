from types import SimpleNamespace

import pytest

from mmdmt.engine import DMTRunner, disk_space
from mmdmt.engine.disk_space import DiskSpace, check_space
from mmdmt.errors import DiskFullError

MIB = 2**20


@pytest.fixture
def make(tiny_config, tmp_path):
    """``make(options)``: a runner whose models weigh 1 and 2 MiB, and whose labels take 3 MiB a phase."""

    def make(options=None):
        runner = DMTRunner(tiny_config(tmp_path / 'run', options))
        runner.data.weight_bytes = dict(a=MIB, b=2 * MIB)
        runner.data.label_bytes = lambda model: 3 * MIB
        return runner

    return make


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        # Three train phases of each model; SGD with momentum keeps one number for each weight.
        ({}, DiskSpace(labels=12 * MIB, kept=9 * MIB, running=3 * 4 * MIB, result=4 * MIB)),
        ({'dmt.keep_labels': False}, DiskSpace(3 * MIB, 9 * MIB, 12 * MIB, 4 * MIB)),
        ({'dmt.keep_checkpoints': False}, DiskSpace(12 * MIB, 7 * MIB, 12 * MIB, 4 * MIB)),
        ({'optim_wrapper.optimizer.momentum': 0.0}, DiskSpace(12 * MIB, 9 * MIB, 6 * MIB, 4 * MIB)),
        ({'optim_wrapper.optimizer': dict(type='AdamW')}, DiskSpace(12 * MIB, 9 * MIB, 18 * MIB, 4 * MIB)),
        ({'custom_hooks': [dict(type='EMAHook')]}, DiskSpace(12 * MIB, 18 * MIB, 18 * MIB, 4 * MIB)),
    ],
    ids=str,
)
def test_space_of_a_run(make, options, expected):
    runner = make(options)
    assert disk_space.disk_space(runner.manifest, runner.data) == expected


def test_complete_phases_take_no_more(make):
    runner = make()
    for phase in runner.manifest.phases[:-1]:
        folder = runner.manifest.folder(phase.name)
        folder.mkdir(parents=True)
        (folder / 'phase.json').write_text('{}')
    expected = DiskSpace(labels=0, kept=MIB, running=6 * MIB, result=4 * MIB)
    assert disk_space.disk_space(runner.manifest, runner.data) == expected


@pytest.mark.parametrize(('free', 'fits'), [(33 * MIB, True), (33 * MIB - 1, False)])
def test_free_space_is_compared_first(make, monkeypatch, tmp_path, free, fits):
    """Two thirds of the labels, and all of the rest."""
    runner = make()
    monkeypatch.setattr(disk_space, 'free_space', lambda path: free)
    if fits:
        check_space(runner.manifest, runner.data)
    else:
        with pytest.raises(DiskFullError, match=rf'{tmp_path}/run has 33\.0 MiB of free .* needs 33\.0 MiB'):
            check_space(runner.manifest, runner.data)


def test_what_an_interrupted_phase_has_written_counts(make, monkeypatch):
    runner = make()
    folder = runner.manifest.folder('00_train_a')
    folder.mkdir(parents=True)
    (folder / 'iter_2.pth').write_bytes(bytes(MIB))
    monkeypatch.setattr(disk_space, 'free_space', lambda path: 32 * MIB)
    check_space(runner.manifest, runner.data)


def test_given_baselines_are_not_trained(make):
    runner = make({'dmt.models.a.supervised_checkpoint': 'a.pth', 'dmt.models.b.supervised_checkpoint': 'b.pth'})
    assert disk_space.disk_space(runner.manifest, runner.data).kept == 9 * MIB  # they are copied


def test_optimizers():
    assert [
        disk_space._states(config)
        for config in (dict(type='SGD'), dict(type='SGD', momentum=0.9), dict(type='AdamW'), SimpleNamespace().__dict__)
    ] == [0, 1, 2, 2]

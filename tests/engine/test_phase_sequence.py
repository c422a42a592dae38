"""How often phases are tried; whole runs whose files were damaged are in tests/test_damage.py."""

import pytest
from mmengine.registry import init_default_scope

from mmdmt.engine import DMTRunner, phase_sequence
from mmdmt.engine.phase_sequence import ATTEMPTS, PhaseSequence
from mmdmt.errors import DamagedFileError


@pytest.fixture
def run(tiny_config, tmp_path, monkeypatch):
    """``run(faults)``: names of the phases that were tried; ``faults`` of them meet a damaged file first."""
    init_default_scope('mmseg')
    runner = DMTRunner(tiny_config(tmp_path))
    runner.data.prepare(tmp_path / 'splits')
    sequence = PhaseSequence(runner.cfg, runner.data, runner.inputs, runner._pace, runner._logger)
    phases, tried, closed = runner.manifest.phases[:3], [], []
    monkeypatch.setattr(sequence._watch, 'close', lambda: closed.append(True))

    def run(faults, again=lambda: phases[1:]):
        def one(resolved):
            tried.append(resolved.phase.name)
            if len(tried) in faults:
                raise DamagedFileError(f'x{len(tried)}.png is damaged')

        monkeypatch.setattr(sequence, '_run', one)
        try:
            sequence.run(phases, again)
        finally:
            assert closed == [True]
        return tried

    run.log = tmp_path / 'dmt.log'
    run.tried = tried
    return run


FIRST, SECOND, THIRD = '00_train_a', '00_train_b', '01_label_a'


def test_each_phase_is_run_once(run):
    assert run(faults=()) == [FIRST, SECOND, THIRD]


def test_what_is_damaged_is_made_anew(run):
    """A damaged file is logged, and the phases that are not complete then are run."""
    assert run(faults={3, 4}) == [FIRST, SECOND, THIRD, SECOND, SECOND, THIRD]
    assert [f'x{number}.png is damaged' in run.log.read_text() for number in (3, 4, 5)] == [True, True, False]


def test_files_that_are_damaged_again_and_again(run):
    with pytest.raises(DamagedFileError, match=f'^x{ATTEMPTS}.png'):
        run(faults=range(99))
    assert run.tried == [FIRST] + [SECOND] * (ATTEMPTS - 1)


def test_one_of_several_processes_does_not_go_on_alone(run, monkeypatch):
    monkeypatch.setattr(phase_sequence, 'is_distributed', lambda: True)
    with pytest.raises(DamagedFileError, match=r'^x1\.png'):
        run(faults={1})
    assert run.tried == [FIRST]

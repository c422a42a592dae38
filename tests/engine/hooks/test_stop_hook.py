"""The hook in runs that get a signal; ``tests/kills.py --signal TERM`` compares whole runs."""

import os
import signal

import pytest
from mmengine.runner import IterBasedTrainLoop, ValLoop

from mmdmt.engine import DMTRunner
from mmdmt.engine.stop_signals import Stopped
from mmdmt.labels import PseudoLabelWriter
from mmdmt.labels.maps import LabelMaps
from tests.steps import SELF_TAUGHT


@pytest.fixture
def send(monkeypatch):
    """``send(cls, method, when)``: SIGTERM to this process during a call of a method for which ``when`` is true."""

    def patch(cls, method, when):
        original = getattr(cls, method)

        def call(self, *args):
            if when(self):
                os.kill(os.getpid(), signal.SIGTERM)
            return original(self, *args)

        monkeypatch.setattr(cls, method, call)

    return patch


def stopped(cfg):
    with pytest.raises(Stopped) as raised:
        DMTRunner(cfg).train()
    assert (raised.value.code, str(raised.value)) == (75, 'stopped by SIGTERM')


def checkpoints(folder):
    return sorted(path.name for path in folder.glob('*.pth'))


@pytest.mark.parametrize(('accumulated', 'expected'), [(1, 'iter_5.pth'), (4, 'iter_8.pth')])
def test_step_is_saved_once_its_gradients_are_used(send, tiny_config, tmp_path, accumulated, expected):
    send(IterBasedTrainLoop, 'run_iter', lambda loop: loop.iter == 4)
    options = {'dmt.supervised.iters': 40, 'optim_wrapper.accumulative_counts': accumulated}
    stopped(tiny_config(tmp_path, options))
    assert checkpoints(tmp_path / '00_train_a') == [expected]
    assert 'The run was stopped by SIGTERM; its state is saved, and --resume' in (tmp_path / 'dmt.log').read_text()


def test_stop_in_a_validation(send, tiny_config, tmp_path):
    send(ValLoop, 'run_iter', lambda loop: True)
    stopped(tiny_config(tmp_path))
    assert 'iter_4.pth' in checkpoints(tmp_path / '00_train_a')
    assert not (tmp_path / '00_train_a/phase.json').exists()


def test_stop_in_a_label_phase(send, tiny_config, tmp_path):
    send(PseudoLabelWriter, 'process', lambda writer: len(writer.written) == 3)
    stopped(tiny_config(tmp_path, SELF_TAUGHT))
    assert len(LabelMaps(tmp_path / '01_label_a').names()) == 4
    DMTRunner(tiny_config(tmp_path, {**SELF_TAUGHT, 'resume': True})).train(phase='01_label_a')
    assert (tmp_path / '01_label_a/phase.json').is_file()

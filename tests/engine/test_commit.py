import json

import pytest
import torch

from mmdmt.engine import commit as module
from mmdmt.engine.commit import commit, write_record
from mmdmt.files import checksum
from mmdmt.untrusted import load_checkpoint

RECORD = dict(phase='00_train_a', checkpoint='iter_4.pth', metrics=dict(mIoU=50.0))


@pytest.fixture
def folder(tmp_path):
    weights = {'weight': torch.randn(3000)}
    mark = dict(phase='00_train_a', model='a', seconds=1.0)
    for name in ('iter_2.pth', 'iter_4.pth', 'best_mIoU_iter_2.pth', 'mine.pth'):
        content = dict(meta=dict(iter=4, dmt=mark), state_dict=weights, ema_state_dict=weights)
        torch.save({**content, 'optimizer': {'weight': torch.randn(3000)}, 'param_schedulers': [{}]}, tmp_path / name)
    return tmp_path


def test_complete_phase_needs_no_optimizer(folder):
    size, before = (folder / 'iter_4.pth').stat().st_size, load_checkpoint(folder / 'iter_4.pth')
    commit(folder, RECORD)
    after = load_checkpoint(folder / 'iter_4.pth')
    assert after.keys() == {'meta', 'state_dict', 'ema_state_dict'}
    assert torch.equal(after['state_dict']['weight'], before['state_dict']['weight'])
    assert after['meta'] == dict(iter=4, dmt=dict(phase='00_train_a', model='a', seconds=1.0, record=RECORD))
    assert (folder / 'iter_4.pth').stat().st_size < 0.8 * size


def test_record_knows_the_checkpoint(folder):
    commit(folder, RECORD)
    assert json.loads((folder / 'phase.json').read_text()) == {**RECORD, 'checksum': checksum(folder / 'iter_4.pth')}


def test_only_checkpoints_of_the_phase_are_deleted(folder):
    commit(folder, RECORD)
    assert sorted(path.name for path in folder.iterdir()) == ['iter_4.pth', 'mine.pth', 'phase.json']


def test_phase_without_a_checkpoint(folder):
    write_record(folder, dict(phase='01_label_a', coverage=0.5))
    assert json.loads((folder / 'phase.json').read_text()) == dict(phase='01_label_a', coverage=0.5)


def test_checkpoints_stay_if_the_record_cannot_be_written(folder, monkeypatch):
    """A full disk at the commit: the phase is incomplete, and goes on from its checkpoint."""

    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(module, 'write_json', full)
    with pytest.raises(OSError, match='No space left'):
        commit(folder, RECORD)
    assert {'iter_2.pth', 'iter_4.pth'} <= {path.name for path in folder.iterdir()}
    assert not (folder / 'phase.json').exists()

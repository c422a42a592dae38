import math

import pytest
import torch
from mmengine.runner import IterBasedTrainLoop
from torch import nn

from mmdmt.engine import DMTRunner
from mmdmt.engine.divergence import MARK, are_finite, diverged
from mmdmt.errors import DivergedError
from tests.steps import SELF_TAUGHT


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf, 1e30])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_one_value_of_many_is_found(value, dtype):
    state = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 8)).to(dtype).state_dict()
    assert are_finite(state)
    state['2.weight'][3, 4] = value
    assert not are_finite(state)


def test_large_weights_integers_and_no_weights_are_finite():
    large = torch.full((1000, 1000), 1e15)
    assert are_finite({'weight': large, 'count': torch.tensor(2**62), 'half': torch.full((9,), 6e4).half()})
    assert are_finite({})


def test_last_good_checkpoint_becomes_the_newest(tmp_path):
    for number in (2, 4, 6):
        torch.save({}, tmp_path / f'iter_{number}.pth')
    error = diverged(tmp_path, 'phase x: the loss is nan', 4)
    assert isinstance(error, DivergedError)
    assert [path.name for path in tmp_path.glob('*.pth')] == ['iter_2.pth']
    assert str(error).startswith(f'phase x: the loss is nan. The last good checkpoint is {tmp_path}/iter_2.pth; ')
    assert (tmp_path / MARK).read_text() == f'{error}\n'
    assert 'The phase has no earlier checkpoint; ' in str(diverged(tmp_path, 'x', 1))
    assert not list(tmp_path.glob('*.pth'))


@pytest.fixture
def blow_up(monkeypatch):
    """``blow_up(phase, step)``: the update of that step makes one weight infinite."""

    def patch(phase, step):
        run_iter = IterBasedTrainLoop.run_iter

        def train(self, data_batch):
            if self.runner.work_dir.endswith(phase) and self.iter == step - 1:
                optimizer = self.runner.optim_wrapper.optimizer
                monkeypatch.setattr(
                    optimizer,
                    'step',
                    lambda *_: optimizer.param_groups[0]['params'][0].data.view(-1)[0].fill_(math.inf),
                )
            run_iter(self, data_batch)

        monkeypatch.setattr(IterBasedTrainLoop, 'run_iter', train)

    return patch


def test_divergence_in_the_last_step_is_not_handed_over(blow_up, tiny_config, tmp_path):
    blow_up('01_train_a', 4)
    runner = DMTRunner(tiny_config(tmp_path, SELF_TAUGHT))
    message = (
        r'phase 01_train_a: the weights are no longer finite after step 4 of 4\. .*/01_train_a/iter_3\.pth; complete'
    )
    with pytest.raises(DivergedError, match=message):
        runner.train()
    assert not runner.manifest.is_complete('01_train_a')
    assert not (tmp_path / 'best.pth').exists()
    newest = sorted(path.name for path in (tmp_path / '01_train_a').glob('*.pth'))[-1]
    assert newest == 'iter_3.pth'


def test_loss_names_step_images_and_the_checkpoint_before(blow_up, tiny_config, tmp_path):
    blow_up('00_train_a', 3)
    options = {**SELF_TAUGHT, 'dmt.supervised.iters': 12, 'default_hooks.checkpoint.interval': 2}
    with pytest.raises(DivergedError) as raised:
        DMTRunner(tiny_config(tmp_path, options)).train()
    found = str(raised.value)
    assert found.startswith('phase 00_train_a: the loss is nan at step 4 of 12 (images digits://train/images/0000')
    assert f'The last good checkpoint is {tmp_path}/00_train_a/iter_2.pth' in found


def test_lower_rate_starts_the_phase_again(tiny_config, tmp_path):
    """What the message advises is possible in the same work dir; complete phases are kept."""
    wrong = {**SELF_TAUGHT, 'dmt.semi.optim_wrapper.optimizer.lr': 1e10, 'dmt.semi.iters': 8}
    with pytest.raises(DivergedError, match=r'phase 01_train_a: .* lower the learning rate'):
        DMTRunner(tiny_config(tmp_path, wrong)).train()
    kept = (tmp_path / '00_train_a/phase.json').stat().st_mtime_ns
    lower = {**wrong, 'dmt.semi.optim_wrapper.optimizer.lr': 0.01, 'resume': True}
    runner = DMTRunner(tiny_config(tmp_path, lower))
    runner.train()
    assert (tmp_path / '00_train_a/phase.json').stat().st_mtime_ns == kept
    assert not (tmp_path / '01_train_a' / MARK).exists()
    change = 'dmt.semi.optim_wrapper.optimizer.lr: 10000000000.0 -> 0.01'
    assert f'Phase 01_train_a began with a changed config: {change}.' in (tmp_path / 'report.md').read_text()
    log = (tmp_path / 'dmt.log').read_text()
    assert 'Phase 01_train_a starts again; changed settings: optim_wrapper.optimizer.lr: 10000000000.0 -> 0.01' in log

import json
import math
from types import SimpleNamespace

import pytest
import torch

from mmdmt.engine import DMTHook, hook
from mmdmt.losses.dynamic_mutual_loss import DynamicMutualLoss


@pytest.fixture
def make_hook():
    def make(**options):
        return DMTHook(**{'phase': '01_train_a', 'model': 'a', 'position': (3, 10), 'metric': 'mIoU', **options})

    return make


def runner(iteration, max_iters=5, model=None, **extra):
    return SimpleNamespace(iter=iteration, max_iters=max_iters, model=model, cfg={}, **extra)


@pytest.mark.parametrize('loss', [math.nan, math.inf, -math.inf])
def test_stops_on_a_loss_that_is_not_finite(make_hook, loss):
    with pytest.raises(FloatingPointError, match=rf'phase 01_train_a: the loss is {loss} at step 3 of 5'):
        make_hook().after_train_iter(runner(2), 2, outputs={'loss': torch.tensor(loss)})


def test_goes_on_with_a_finite_loss(make_hook):
    make_hook().after_train_iter(runner(2), 2, outputs={'loss': torch.tensor(1e30)})


@pytest.mark.parametrize(
    ('iteration', 'scale'), [(0, math.exp(-5)), (1, math.exp(-5 * 0.75**2)), (2, math.exp(-1.25)), (4, 1.0)]
)
def test_ramp(make_hook, iteration, scale):
    model = torch.nn.Sequential(torch.nn.Sequential(DynamicMutualLoss()), DynamicMutualLoss())
    make_hook(ramp=True).before_train_iter(runner(iteration, model=model), iteration)
    assert [model[0][0].gamma_scale, model[1].gamma_scale] == pytest.approx([scale, scale])


def test_ramp_of_one_step(make_hook):
    model = torch.nn.Sequential(DynamicMutualLoss())
    make_hook(ramp=True).before_train_iter(runner(0, max_iters=1, model=model), 0)
    assert model[0].gamma_scale == pytest.approx(math.exp(-5))


@pytest.mark.parametrize(('ramp', 'scale'), [(False, 0.5), (True, 0.5 * math.exp(-1.25))])
def test_gamma_scale_of_the_phase(make_hook, ramp, scale):
    model = torch.nn.Sequential(DynamicMutualLoss(), DynamicMutualLoss())
    make_hook(ramp=ramp, gamma_scale=0.5).before_train_iter(runner(2, model=model), 2)
    assert [loss.gamma_scale for loss in model] == pytest.approx([scale, scale])


def test_no_ramp_by_default(make_hook):
    model = torch.nn.Sequential(DynamicMutualLoss())
    make_hook().before_train_iter(runner(0, model=model), 0)
    assert model[0].gamma_scale == 1.0


@pytest.mark.parametrize(('phase', 'expected'), [('01_train_a', 10.0 + 7.0), ('00_train_a', 7.0)])
def test_time_accumulates_over_resumes_of_the_same_phase(make_hook, monkeypatch, phase, expected):
    clock = [100.0]
    monkeypatch.setattr(hook.time, 'perf_counter', lambda: clock[0])
    first = make_hook(phase=phase)
    clock[0] += 10
    checkpoint = {'meta': {}}
    first.before_save_checkpoint(None, checkpoint)
    assert checkpoint['meta']['dmt'] == dict(phase=phase, model='a', seconds=10.0)
    second = make_hook()
    second.after_load_checkpoint(None, checkpoint)
    clock[0] += 7
    assert second.seconds == expected


def test_foreign_checkpoint(make_hook, monkeypatch):
    monkeypatch.setattr(hook.time, 'perf_counter', lambda: 100.0)
    own = make_hook()
    own.after_load_checkpoint(None, {'state_dict': {}})
    assert own.seconds == 0


def test_commit_of_a_label_phase(make_hook, tmp_path):
    (tmp_path / 'iter_4.pth').touch()
    own = make_hook(phase='01_label_a')
    own.after_test_epoch(
        SimpleNamespace(work_dir=str(tmp_path)), {'pseudo_label/coverage': 0.25, 'pseudo_label/images': 6.0}
    )
    record = json.loads((tmp_path / 'phase.json').read_text())
    assert (record['phase'], record['model'], record['select']) == ('01_label_a', 'a', 'last')
    assert (record['coverage'], record['images']) == (0.25, 6)
    assert not list(tmp_path.glob('*.pth'))
    assert not list(tmp_path.glob('*.tmp'))

from types import SimpleNamespace

import torch
from mmengine.config import Config
from torch import nn

from mmdmt.engine import DMTRunner, NormEvalHook
from tests.conftest import TINY


def test_statistics_stay_and_scales_are_trained():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    model[1].running_mean.fill_(3.0)
    model.train()
    NormEvalHook().before_train_iter(SimpleNamespace(model=model), 0)
    assert [module.training for module in model] == [True, False, True]
    images = torch.randn(2, 3, 8, 8)
    features = model[0](images)
    torch.testing.assert_close(model[1](features), (features - 3.0) / (1 + model[1].eps) ** 0.5)
    model(images).sum().backward()
    assert torch.equal(model[1].running_mean, torch.full([4], 3.0))
    assert model[1].weight.grad.abs().sum() > 0


def test_in_a_run_the_statistics_are_those_of_the_first_phase(root, tmp_path):
    """Validated in the middle of the phase as well, after which the loop sets the model to training again."""
    cfg = Config.fromfile(root / 'configs/dmt/fcn_digits.py')
    hooks = [dict(type='NormEvalHook')]
    changes = {'dmt.semi.custom_hooks': hooks, 'dmt.label_ratios': (1.0,), 'dmt.semi.train_cfg': dict(val_interval=2)}
    cfg.merge_from_dict({**TINY, **changes})
    cfg.work_dir = str(tmp_path)
    runner = DMTRunner(cfg)
    runner.train()
    first, second = (
        torch.load(runner.manifest.checkpoint(name), weights_only=False)['state_dict']
        for name in ('00_train_a', '01_train_a')
    )
    names = [name for name in first if name.endswith(('running_mean', 'running_var', 'num_batches_tracked'))]
    assert names
    assert all(torch.equal(first[name], second[name]) for name in names)
    scales = [name.replace('running_mean', 'weight') for name in names if name.endswith('running_mean')]
    assert not all(torch.equal(first[name], second[name]) for name in scales)

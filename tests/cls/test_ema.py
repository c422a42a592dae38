import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS, MODELS
from torch import nn

import mmdmt.cls
import mmdmt.engine  # noqa: F401

MOMENTUM = 0.001


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture
def ema_config(root):
    (config,) = Config.fromfile(root / 'configs/_base_/schedules/sgd_cosine.py').custom_hooks
    return config.to_dict()


def fill(model, value):
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.fill_(value)


def test_first_update_copies_and_the_next_moves_by_a_thousandth(ema_config):
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    fill(model, 0.5)
    ema = MODELS.build(HOOKS.build(ema_config).ema_cfg, default_args={'model': model})
    floats = [name for name, value in model.state_dict().items() if value.is_floating_point()]
    assert len(floats) == 6  # weight and bias twice, running mean and variance

    def average():
        values = {value.item() for name in floats for value in ema.module.state_dict()[name].flatten()}
        assert len(values) == 1
        return values.pop()

    assert average() == 0.5
    fill(model, 0)
    ema.update_parameters(model)
    assert average() == 0
    fill(model, 1)
    ema.update_parameters(model)
    assert average() == pytest.approx(0.001, rel=1e-6)
    ema.update_parameters(model)
    assert average() == pytest.approx(0.001 + 0.999 * 0.001, rel=1e-6)
    for _ in range(998):
        ema.update_parameters(model)
    # After 1000 updates, 1 - 0.999 ** 1000 = 0.632
    assert average() == pytest.approx(1 - 0.999**1000, rel=1e-3)
    assert not any(parameter.requires_grad for parameter in ema.parameters())


class RecordWeights(Hook):
    """The weights after each step."""

    def __init__(self):
        self.states = []

    def after_train_iter(self, runner, *args, **kwargs):
        self.states.append(copy.deepcopy(runner.model.state_dict()))


@pytest.fixture
def digits_config(root, tmp_path):
    """Four steps of the demo's model and data in plain mmengine."""
    parts = ('default_runtime_cls.py', 'models/wrn10-1_digits.py', 'schedules/sgd_cosine.py', 'datasets/digits_cls.py')
    cfg = Config()
    for part in parts:
        content = Config.fromfile(root / 'configs/_base_' / part).to_dict()
        tested = {'dmt', 'test_dataloader', 'test_cfg', 'test_evaluator'}
        cfg.merge_from_dict({key: value for key, value in content.items() if key not in tested})
    cfg.merge_from_dict({
        'work_dir': str(tmp_path),
        'train_dataloader.batch_size': 8,
        'train_dataloader.dataset.indices': 24,
        'val_dataloader.dataset.indices': 20,
        'train_cfg.max_iters': 4,
        'train_cfg.val_interval': 4,
        'default_hooks.checkpoint.interval': 4,
        'log_level': 'ERROR',
        'experiment_name': tmp_path.name,
    })  # fmt: skip
    return cfg


def test_checkpoint_holds_the_average(digits_config, tmp_path):
    record = RecordWeights()
    validated = []

    class RecordValidation(Hook):
        # After EMAHook has put the average in place.
        priority = 'VERY_LOW'

        def before_val_iter(self, runner, *args, **kwargs):
            validated.append(copy.deepcopy(runner.model.state_dict()))

    runner = Runner.from_cfg(digits_config)
    runner.register_hook(record)
    runner.register_hook(RecordValidation())
    runner.train()

    first, *others = record.states
    assert len(others) == 3
    expected = {name: value.clone() for name, value in first.items()}
    for state in others:
        for name, value in expected.items():
            if value.is_floating_point():
                expected[name] = (1 - MOMENTUM) * value + MOMENTUM * state[name]

    checkpoint = torch.load(tmp_path / 'iter_4.pth', weights_only=False)
    raw = others[-1]
    assert set(checkpoint['state_dict']) == set(raw)
    moved = set()
    for name, value in expected.items():
        torch.testing.assert_close(checkpoint['state_dict'][name], value, rtol=1e-5, atol=1e-7, msg=name)
        assert torch.equal(checkpoint['ema_state_dict'][f'module.{name}'], raw[name]), name
        if not torch.allclose(value, raw[name], rtol=1e-5, atol=1e-7):
            moved.add(name)
    assert {
        'head.fc.weight',
        'backbone.stem.weight',
        'backbone.norm.running_mean',
        'backbone.norm.running_var',
    } <= moved
    # The average is what is tested, and training goes on with the weights themselves.
    assert len(validated) == 1
    for name, value in validated[0].items():
        assert torch.equal(value, checkpoint['state_dict'][name]), name
        assert torch.equal(runner.model.state_dict()[name], raw[name]), name

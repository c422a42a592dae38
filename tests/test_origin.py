"""Weights of a model with other settings: trained on, but not predicted with."""

import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.runner import Runner, load_checkpoint
from mmengine.runner.checkpoint import get_state_dict, weights_to_cpu
from mmseg.apis import inference_model, init_model
from mmseg.registry import MODELS

from mmdmt.errors import UserError
from mmdmt.origin import METADATA_KEY, KnowsOrigin, prediction_settings

MESSAGE = 'the weights are those of a model with other settings'


@pytest.fixture
def config(root, tmp_path):
    cfg = Config.fromfile(root / 'configs/dmt/fcn_digits.py')
    cfg.work_dir = str(tmp_path)
    cfg.test_dataloader.dataset.indices = 1
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    return cfg


@pytest.fixture
def save(config, tmp_path):
    """``save({dotted key: value})``: the checkpoint of a model with these settings."""

    def write(changes):
        cfg = copy.deepcopy(config)
        cfg.merge_from_dict({f'model.{key}': value for key, value in changes.items()})
        with DefaultScope.overwrite_default_scope('mmseg'):
            model = MODELS.build(cfg.model)
        # As mmengine's Runner saves it.
        state_dict = weights_to_cpu(get_state_dict(model))
        torch.save(dict(meta=dict(dataset_meta=dict(classes=['x'], palette=[[0, 0, 0]])), state_dict=state_dict),
                   tmp_path / 'model.pth')  # fmt: skip
        return str(tmp_path / 'model.pth')

    return write


OTHERS = [
    {'data_preprocessor.mean': [104.0, 116.7, 122.7]},
    {'data_preprocessor.std': [1.0, 1.0, 1.0]},
    {'data_preprocessor.bgr_to_rgb': False},
    {'backbone.dilations': (1, 1, 1, 2)},
    {'decode_head.align_corners': True},
]


@pytest.mark.parametrize('changes', OTHERS, ids=lambda changes: next(iter(changes)))
def test_stock_api_refuses_to_predict(config, save, changes):
    model = init_model(config, save(changes), device='cpu')
    with pytest.raises(UserError, match=rf'{MESSAGE}.*trained with.*best\.py') as caught:
        inference_model(model, np.zeros((48, 80, 3), np.uint8))
    assert next(iter(changes)) in str(caught.value)


def test_stock_test_tool_refuses(config, save):
    config.load_from = save(OTHERS[0])
    init_default_scope('mmseg')
    with pytest.raises(UserError, match=r'data_preprocessor\.mean'):
        Runner.from_cfg(config).test()
    config.load_from = save({})
    assert 'mIoU' in Runner.from_cfg(config).test()


TRAINING = {
    'decode_head.dropout_ratio': 0.5,
    'decode_head.loss_decode.gamma1': 1.0,
    'backbone.norm_eval': True,
    'data_preprocessor.size': (32, 32),
    'test_cfg': dict(mode='slide', crop_size=(48, 48), stride=(24, 24)),
}


def test_settings_of_the_training_may_differ(config, save):
    model = init_model(config, save(TRAINING), device='cpu')
    assert inference_model(model, np.zeros((48, 80, 3), np.uint8)).pred_sem_seg.data.shape == (1, 48, 80)


def test_a_step_of_training_makes_the_weights_its_own(root, tmp_path):
    """A fine-tuning from such weights validates as ever."""
    linear = Part(scale=2)
    linear.load_state_dict(Part(scale=1).state_dict())
    with pytest.raises(UserError, match=r'head\.scale 2, trained with 1'):
        linear(torch.zeros(1), mode='predict')
    assert linear(torch.zeros(1)) == 'tensor'
    assert linear(torch.zeros(1), mode='loss') == 'loss'
    assert linear(torch.zeros(1), mode='predict') == 'predict'


class Base(torch.nn.Module):
    def __init__(self, head):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, inputs, data_samples, mode):
        return mode


class Part(KnowsOrigin, Base):
    def __init__(self, scale):
        super().__init__(head=dict(scale=scale))


def test_weights_saved_before_and_stock_weights_load(config, save):
    path = save(OTHERS[0])
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint['state_dict']._metadata['']
    torch.save(checkpoint, path)
    assert inference_model(init_model(config, path, device='cpu'), np.zeros((48, 80, 3), np.uint8))


def test_metadata_is_plain_and_other_models_ignore_it(config, save):
    state_dict = torch.load(save({}), weights_only=True)['state_dict']
    found = state_dict._metadata[''][METADATA_KEY]
    assert found['decode_head.type'] == "'FCNHead'"
    assert all(isinstance(value, str) for value in found.values())
    stock = copy.deepcopy(config.model)
    stock.type = 'EncoderDecoder'
    with DefaultScope.overwrite_default_scope('mmseg'):
        assert MODELS.build(stock).load_state_dict(state_dict, strict=True)


def test_classifier_too(root, tmp_path):
    from mmpretrain.registry import MODELS as CLASSIFIERS

    import mmdmt.cls  # noqa: F401

    cfg = Config.fromfile(root / 'configs/dmt/wrn10-1_digits.py')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        other = copy.deepcopy(cfg.model)
        other.data_preprocessor.mean = [1.0, 2.0, 3.0]
        torch.save(dict(state_dict=CLASSIFIERS.build(other).state_dict()), tmp_path / 'other.pth')
        model = CLASSIFIERS.build(cfg.model).eval()
    image = torch.zeros(1, *([1] if cfg.model.backbone.get('in_channels') == 1 else [3]), 32, 32)
    assert model(image, mode='predict')
    load_checkpoint(model, str(tmp_path / 'other.pth'))
    with pytest.raises(UserError, match=r'data_preprocessor\.mean'):
        model(image, mode='predict')


def test_built_parts_are_no_settings():
    assert prediction_settings(dict(data_preprocessor=torch.nn.Identity(), neck=None)) == {}

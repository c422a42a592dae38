import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

import mmdmt.seg  # noqa: F401  # registers the model
from mmdmt.engine import config_names
from mmdmt.engine.cli import read_config
from mmdmt.errors import UserError
from mmdmt.shipped import config_path

OWN = 'mmdmt::dmt/fcn_digits.py'


@pytest.fixture
def config(tmp_path):
    """Write a config that lies anywhere and give its path."""

    def write(base, text=''):
        path = tmp_path / 'my.py'
        path.write_text(f'_base_ = {base}\n{text}\n')
        return path

    return write


def test_base_of_a_config(config):
    cfg = Config.fromfile(config(repr(OWN), 'dmt = dict(label_ratios=(0.5,), loss=_base_.dynamic_loss)'))
    expected = Config.fromfile(config_path(OWN))
    assert cfg.dmt.loss == expected.dynamic_loss
    expected.dmt.update(label_ratios=(0.5,), loss=expected.dynamic_loss)
    assert cfg.to_dict() == expected.to_dict()  # no `_scope_` in it


def test_model_of_such_a_config_is_built(config):
    init_default_scope('mmseg')
    cfg = read_config(config(repr(OWN)), {})
    assert type(MODELS.build(cfg.model)).__name__ == 'DMTEncoderDecoder'


def test_among_bases_of_others(config, tmp_path, monkeypatch):
    """Names of other packages, which get a scope, and paths are found by mmengine."""
    (tmp_path / 'size.py').write_text("size = dict(type='Size')\n")
    monkeypatch.setattr(
        config_names, '_of_other_packages', lambda name, filename: (str(tmp_path / 'size.py'), name.split('::')[0])
    )
    cfg = Config.fromfile(config(['mmdmt::_base_/models/fcn_r18-d8_small.py', 'mmseg::_base_/size.py']))
    assert cfg.size == dict(type='Size', _scope_='mmseg')
    assert cfg.model == Config.fromfile(config_path('_base_/models/fcn_r18-d8_small')).model
    monkeypatch.undo()
    assert Config.fromfile(config(['size.py'])).size == dict(type='Size')


def test_missing_base_is_one_line(config):
    path = config("'mmdmt::dmt/fcn_digit.py'")
    with pytest.raises(UserError, match=r'config .*my\.py: config mmdmt::dmt/fcn_digit\.py does not exist; did you'):
        read_config(path, {})


def test_stock_tools(config, monkeypatch):
    """They read a config before anything of this package: only an expression that imports it is possible there."""
    monkeypatch.setattr(Config, '_get_cfg_path', staticmethod(config_names._of_other_packages))
    with pytest.raises(AssertionError, match='mmengine does not support to load mmdmt config'):
        Config.fromfile(config(repr(OWN)))
    cfg = Config.fromfile(config("__import__('mmdmt').config_path('dmt/fcn_digits.py')"))
    assert cfg.to_dict() == Config.fromfile(config_path(OWN)).to_dict()

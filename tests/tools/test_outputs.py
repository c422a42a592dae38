"""Outputs that a tool cannot check while it reads its arguments."""

import os
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from mmdmt.errors import UnwritableError


@pytest.fixture
def tool(root):
    return lambda name: runpy.run_path(str(root / f'tools/{name}.py'))


@pytest.mark.parametrize(
    ('scope', 'out', 'message'),
    [('mmseg', 'file', 'file cannot be a folder'), ('mmpretrain', 'x.pkl', 'must be a file')],
)
def test_predictions(tool, tmp_path, scope, out, message):
    (tmp_path / 'file').touch()
    (tmp_path / 'x.pkl').mkdir()
    loader = dict(dataset=dict(type='A', data_root='data', data_prefix=dict(img_path='images')))
    cfg = Config(dict(default_scope=scope, test_dataloader=loader, test_evaluator=dict(type='B')))
    with pytest.raises(UnwritableError, match=message):
        tool('test')['save_predictions'](cfg, tmp_path / out, 'test')
    tool('test')['save_predictions'](cfg, tmp_path / 'new.pkl', 'test')
    assert str(tmp_path / 'new.pkl') in (cfg.test_evaluator[-1].get('out'), cfg.test_evaluator[-1].get('out_file_path'))


@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='a system without /proc')
def test_analysis_of_a_run_that_cannot_be_written(tool, root):
    given = dict(config=str(root / 'configs/dmt/fcn_digits.py'), cfg_options={}, launcher='none', local_rank=0)
    args = SimpleNamespace(**given, work_dir='/proc/new', masks=None, images=1, json=None)
    with pytest.raises(UnwritableError, match=r'^/proc/new cannot be written'):
        tool('analyze')['main'](args)
    assert not Path('/proc/new').exists()

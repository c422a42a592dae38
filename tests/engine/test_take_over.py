import json

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner

import mmdmt.seg  # noqa: F401  (registers the segmentor)
from mmdmt.engine import DMTRunner
from mmdmt.engine.take_over import take_over
from mmdmt.files import checksum
from mmdmt.seg.digit_rendering import render_scene


@pytest.fixture(autouse=True)
def mmseg_scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


@pytest.fixture
def phase(tiny_config, tmp_path):
    """The first phase of a run, resolved."""
    runner = DMTRunner(tiny_config(tmp_path / 'run', {'val_dataloader.dataset.indices': 2}))
    runner.data.prepare(tmp_path)
    return runner.data.phases['00_train_a']


@pytest.fixture
def weights(phase):
    """Of a model that says background everywhere."""
    weights = MODELS.build(phase.config.model).state_dict()
    for name, value in weights.items():
        if name.startswith('decode_head.conv_seg'):
            value.zero_()
    weights['decode_head.conv_seg.bias'][0] = 1
    return weights


@pytest.mark.parametrize('wrapped', [True, False])
def test_phase_is_complete_with_the_checkpoint(phase, weights, tmp_path, wrapped):
    source, folder = tmp_path / 'given.pth', tmp_path / 'run/00_train_a'
    torch.save(dict(state_dict=weights, meta=dict(iter=7), optimizer={}) if wrapped else weights, source)
    runner = take_over(Runner, phase.config, phase.phase, str(source))
    copied = torch.load(folder / 'supervised.pth', weights_only=False)
    assert copied.keys() == {'meta', 'state_dict'}
    assert copied['meta'].pop('dmt') == dict(phase='00_train_a', model='a', seconds=0.0)
    assert copied['meta'] == (dict(iter=7) if wrapped else {})
    assert all(torch.equal(copied['state_dict'][name], value) for name, value in weights.items())
    record = json.loads((folder / 'phase.json').read_text())
    mask = np.stack([render_scene('val', index).mask for index in range(2)])
    background = 100 * (mask == 0).sum() / (mask != 255).sum()
    shown = len(set(np.unique(mask)) - {255})  # of which all but the background have an IoU of 0
    assert record['metrics']['aAcc'] == pytest.approx(background, abs=0.01)
    assert record['metrics']['mIoU'] == pytest.approx(background / shown, abs=0.01)
    assert record.pop('metrics') == record.pop('metrics_last')
    assert record.pop('seconds') > 0
    assert record.pop('checksum') == checksum(folder / 'supervised.pth')
    assert record == dict(phase='00_train_a', model='a', checkpoint='supervised.pth', taken_over=str(source))
    assert runner.iter == 0
    assert not list(folder.glob('.*'))


def test_phase_without_validation(phase, weights, tmp_path):
    torch.save(weights, tmp_path / 'given.pth')
    phase.config.update(val_dataloader=None, val_cfg=None, val_evaluator=None)
    take_over(Runner, phase.config, phase.phase, str(tmp_path / 'given.pth'))
    record = json.loads((tmp_path / 'run/00_train_a/phase.json').read_text())
    assert record['metrics'] == record['metrics_last'] == {}


def test_checkpoint_that_is_not_there(phase, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no\.pth'):
        take_over(Runner, phase.config, phase.phase, str(tmp_path / 'no.pth'))
    assert not (tmp_path / 'run/00_train_a/phase.json').exists()

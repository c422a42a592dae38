import json
from importlib.util import find_spec

import pytest
import torch
from mmengine.config import Config

from mmdmt.config_dicts import dicts_in
from mmdmt.core.schedule import plan
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.result import best_phase, export, predictor_file, predictor_of
from mmdmt.untrusted import load_checkpoint

PHASES = plan('mutual', ['a', 'b'], (0.5, 1.0))
SAFETENSORS = ['best.safetensors'] if find_spec('safetensors') else []
# The best model of all is not one of the last iteration.
SCORES = {'00_train_a': 50.0, '00_train_b': 51.0, '01_train_a': 99.0, '01_train_b': 55.0}


@pytest.fixture
def manifest(tmp_path):
    """``manifest(metrics of 02_train_a, of 02_train_b)``: a complete run made by hand."""

    def make(*last):
        made = Manifest(tmp_path, PHASES)
        metrics = {name: {'mIoU': score, 'aAcc': 100 - score} for name, score in SCORES.items()}
        metrics.update(zip(('02_train_a', '02_train_b'), last, strict=True))
        for phase in PHASES:
            made.folder(phase.name).mkdir()
            record = dict(metrics=metrics[phase.name]) if phase.kind == 'train' else {}
            (made.folder(phase.name) / 'phase.json').write_text(json.dumps(record))
        return made

    return make


@pytest.mark.parametrize(
    ('score_a', 'score_b', 'best'),
    [
        ({'mIoU': 61.3}, {'mIoU': 61.25}, '02_train_a'),
        ({'mIoU': 61.0}, {'mIoU': 61.25}, '02_train_b'),
        ({}, {'mIoU': 0.5}, '02_train_b'),
        ({'mIoU': 0.5}, {}, '02_train_a'),
        # Where nothing tells them apart, it is the one that is trained first.
        ({'mIoU': 61.0}, {'mIoU': 61.0}, '02_train_b'),
        ({}, {}, '02_train_b'),
        ({'mIoU': 1.0, 'aAcc': 9.0}, {'mIoU': 2.0, 'aAcc': 8.0}, '02_train_b'),
    ],
    ids=str,
)
def test_best_of_the_last_iteration(manifest, score_a, score_b, best):
    assert best_phase(manifest(score_a, score_b), 'mIoU').name == best


def test_the_metric_that_counts(manifest):
    made = manifest({'mIoU': 1.0, 'aAcc': 9.0}, {'mIoU': 2.0, 'aAcc': 8.0})
    assert best_phase(made, 'aAcc').name == '02_train_a'


def test_one_model_without_pseudo_labels_of_a_teacher(tmp_path):
    phases = plan('single', ['a'], ())
    assert best_phase(Manifest(tmp_path, phases), 'mIoU').name == '01_train_a'


@pytest.fixture
def exported(tiny_config, tmp_path):
    """Work dir of a run whose 02_train_b is exported, the checkpoint of that phase, and the plan."""
    options = {
        'model.pretrained': 'x.pth',
        'model.auxiliary_head': dict(type='FCNHead', loss_decode=[dict(type='DynamicMutualLoss', loss_weight=0.4)]),
        'dmt.models.b.model.decode_head.channels': 16,
        'dmt.models.b.load_from': 'x.pth',
    }
    run = RunPlan.of(tiny_config(tmp_path, options))
    manifest = Manifest(tmp_path, run.phases)
    checkpoint = dict(
        meta=dict(dmt=dict(model='b')), state_dict={'x': torch.arange(3.0)}, optimizer={}, message_hub={}, ema={}
    )
    manifest.folder('02_train_b').mkdir()
    torch.save(checkpoint, manifest.folder('02_train_b') / 'iter_4.pth')
    (manifest.folder('02_train_b') / 'phase.json').write_text('{"checkpoint": "iter_4.pth"}')
    export(manifest, run, next(phase for phase in run.phases if phase.name == '02_train_b'))
    return tmp_path


def test_exported_checkpoint_holds_the_weights_only(exported):
    found = torch.load(exported / 'best.pth', weights_only=False)
    assert found.keys() == {'meta', 'state_dict'}
    assert found['meta'] == {'dmt': {'phase': '02_train_b', 'model': 'b'}}
    assert found['state_dict']['x'].tolist() == [0, 1, 2]


def test_exported_config_is_of_stock_types(exported):
    cfg = Config.fromfile(exported / 'best.py', import_custom_modules=False)
    assert cfg.model.type == 'EncoderDecoder'
    assert cfg.model.decode_head.channels == 16  # of model b
    assert cfg.model.decode_head.loss_decode == dict(type='CrossEntropyLoss', avg_non_ignore=True)
    assert cfg.model.auxiliary_head.loss_decode == [dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=0.4)]
    assert cfg.model.pretrained is None
    used = [cfg[key] for key in ('model', 'test_dataloader', 'val_dataloader', 'test_evaluator', 'default_hooks')]
    types = {found['type'] for found in dicts_in(used) if 'type' in found}
    assert {'EncoderDecoder', 'LoadAnnotations', 'IoUMetric'} < types
    assert not [name for name in types if 'DMT' in name or 'Dynamic' in name]
    assert not {'dmt', 'runner_type', 'load_from', 'train_dataloader', 'optim_wrapper'} & cfg.keys()
    assert cfg.val_dataloader.dataset.type == 'DigitScenesDataset'


@pytest.mark.skipif(not SAFETENSORS, reason='safetensors is not installed')
def test_safetensors_hold_the_same_weights(exported):
    found = load_checkpoint(exported / 'best.safetensors')
    assert torch.equal(found['state_dict']['x'], load_checkpoint(exported / 'best.pth')['state_dict']['x'])
    assert found['meta']['dmt']['model'] == 'b'


def test_nothing_else_is_left(exported):
    assert sorted(path.name for path in exported.rglob('*') if path.is_file()) == [
        'best.pth', 'best.py', *SAFETENSORS, 'iter_4.pth', 'phase.json'
    ]  # fmt: skip


def test_lost_checkpoint_is_named_and_nothing_is_written(tiny_config, tmp_path):
    run = RunPlan.of(tiny_config(tmp_path))
    with pytest.raises(FileNotFoundError, match='checkpoint of phase 02_train_a not found'):
        export(Manifest(tmp_path, run.phases), run, run.phases[-1])
    assert list(tmp_path.iterdir()) == []


def test_the_network_of_a_method_that_predicts(tmp_path):
    weights = {'student.x': torch.zeros(1), 'teacher.x': torch.ones(1), 'teacher.head.y': torch.ones(2), 'averaged': 3}
    mark = dict(model='a', predictor_prefix='teacher.')
    torch.save(dict(meta=dict(dmt=mark), state_dict=weights), tmp_path / 'iter_4.pth')
    found = torch.load(predictor_file(tmp_path / 'iter_4.pth', tmp_path), weights_only=False)
    assert list(found['state_dict']) == ['x', 'head.y']
    assert found['state_dict']['x'].item() == 1
    assert found['meta'] == dict(dmt=dict(model='a'))
    assert predictor_of(found) == found
    torch.save(found, tmp_path / 'stock.pth')
    assert predictor_file(tmp_path / 'stock.pth', tmp_path) == tmp_path / 'stock.pth'

"""Test-time augmentation of the test tool."""

import runpy
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import TestLoop
from mmseg.models import EncoderDecoder

from mmdmt.engine import DMTRunner
from mmdmt.engine.tta import enable_tta
from tests.steps import SELF_TAUGHT

FLIP = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
OWN = {'tta_model': dict(type='SegTTAModel'), 'tta_pipeline': FLIP}
# The only model is the one whose overrides make another model of it.
WIDE = {**SELF_TAUGHT, 'dmt.models': dict(_delete_=True, a=dict(model=dict(decode_head=dict(channels=16))))}


@pytest.fixture(scope='module')
def complete(tiny_config, tmp_path_factory):
    """Work dir of a complete run, the result of which was changed: after a few steps all pixels are background."""
    work_dir = tmp_path_factory.mktemp('complete')
    DMTRunner(tiny_config(work_dir, WIDE)).train()
    result = torch.load(work_dir / 'best.pth', weights_only=False)
    weight = result['state_dict']['decode_head.conv_seg.weight']
    weight += torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    torch.save(result, work_dir / 'best.pth')
    return work_dir


@pytest.fixture
def run_tool(complete, tiny_config, tmp_path, root, monkeypatch):
    """``run_tool(options, *arguments, config=...)``: the metrics of `tools/test.py` on the result of the run."""
    monkeypatch.setenv('LOCAL_RANK', '0')
    found, run = [], TestLoop.run
    monkeypatch.setattr(TestLoop, 'run', lambda loop: found.append(run(loop)))

    def run_tool(options, *arguments, config=None):
        if config is None:
            config = tmp_path / 'tiny.py'
            tiny_config(tmp_path / 'work', {**WIDE, **options}).dump(config)
        command = [config, complete / 'best.pth', '--work-dir', tmp_path / 'out', *arguments]
        monkeypatch.setattr(sys, 'argv', ['test.py', *map(str, command)])
        runpy.run_path(str(root / 'tools/test.py'), run_name='__main__')
        return found[-1]

    return run_tool


@pytest.fixture
def sizes(monkeypatch):
    """Height and width of each batch that a model predicts."""
    seen, predict = [], EncoderDecoder.predict

    def record(self, inputs, data_samples=None):
        seen.append(tuple(inputs.shape[2:]))
        return predict(self, inputs, data_samples)

    monkeypatch.setattr(EncoderDecoder, 'predict', record)
    return seen


def accuracy_by_hand(complete, mirrored):
    """Percentage of right pixels; with ``mirrored``, of the mean of the predictions for image and mirror image."""
    cfg = Config.fromfile(complete / 'best.py')
    model = MODELS.build(cfg.model).eval()
    model.load_state_dict(torch.load(complete / 'best.pth', weights_only=False)['state_dict'])
    right, pixels = 0, 0
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    for sample in (dataset[index] for index in range(len(dataset))):
        truth = sample['data_samples'].gt_sem_seg.data[0].numpy()
        image = model.data_preprocessor(dict(inputs=[sample['inputs']]))['inputs']
        with torch.no_grad():
            views = [model.encode_decode(view, [dict(img_shape=truth.shape)]) for view in (image, image.flip(3))]
        mean = (views[0].softmax(1) + views[1].softmax(1).flip(3)) / 2 if mirrored else views[0]
        valid = truth != 255
        right += (mean[0].argmax(0).numpy() == truth)[valid].sum()
        pixels += valid.sum()
    return 100 * right / pixels


def test_views_of_the_config(complete, run_tool, sizes):
    """The figure is that of averages made by hand, and not that of the test without them."""
    found = [run_tool(OWN)['aAcc'], run_tool(OWN, '--tta')['aAcc']]
    assert len(sizes) == 4 + 2 * 4
    expected = [accuracy_by_hand(complete, mirrored) for mirrored in (False, True)]
    assert found == pytest.approx(expected, abs=0.006)  # they are rounded
    assert abs(found[1] - found[0]) > 0.1


@pytest.mark.parametrize('final', [True, False])
def test_default_views(complete, run_tool, sizes, final, tmp_path):
    """Six scales of each of 4 images, and their mirror images; of the run's config and of that of its result."""
    config = complete / 'best.py' if final else None
    found = run_tool({}, '--tta', '--out', tmp_path / 'predictions', config=config)
    assert sorted(sizes) == sorted([(size, size) for size in (32, 48, 64, 80, 96, 112)] * 8)
    assert 0 < found['aAcc'] < 100
    assert len(list((tmp_path / 'predictions').rglob('*.png'))) == 4


def test_validation_has_no_views(run_tool, capsys):
    with pytest.raises(SystemExit):
        run_tool({}, '--tta', '--val')
    assert 'not allowed with argument' in capsys.readouterr().err


def test_what_comes_before_the_labels_stays_before_the_views():
    resize, load = dict(type='Resize', scale=(512, 512), keep_ratio=True), dict(type='LoadAnnotations')
    pipeline = [dict(type='LoadImageFromFile'), resize, load, dict(type='PackSegInputs')]
    cfg = Config(dict(model=dict(type='A'), test_dataloader=dict(dataset=dict(pipeline=pipeline))))
    enable_tta(cfg)
    first, second, views = cfg.test_dataloader.dataset.pipeline
    assert (first, second) == (pipeline[0], resize)
    scales, flips, *rest = views.transforms
    assert [scale.scale_factor for scale in scales] == [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
    assert [flip.prob for flip in flips] == [0.0, 1.0]
    assert rest == [[load], [pipeline[-1]]]
    assert cfg.model == dict(type='SegTTAModel', module=dict(type='A'))


def test_classification(root, tmp_path):
    """The scores of an image are the mean of its own and of those of its mirror image."""
    cfg = Config.fromfile(root / 'configs/dmt/wrn10-1_digits.py')
    init_default_scope('mmpretrain')
    enable_tta(cfg)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    sample = dataset[0]
    plain, mirrored = sample['inputs'] if sample['data_samples'][1].flip else reversed(sample['inputs'])
    assert torch.equal(plain, mirrored.flip(2))
    with torch.no_grad():
        batch = dict(inputs=[plain[None], mirrored[None]], data_samples=[[item] for item in sample['data_samples']])
        found = model.test_step(batch)[0].pred_score
        images = model.module.data_preprocessor(dict(inputs=torch.stack([plain, mirrored])))['inputs']
        scores = model.module(images, mode='tensor').softmax(1)
    assert not np.allclose(scores[0], scores[1], atol=1e-4)
    torch.testing.assert_close(found, scores.mean(0))

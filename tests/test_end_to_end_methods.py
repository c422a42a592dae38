"""Runs of the shipped configs of each method, cut short, and what becomes of their results."""

import json
import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import IterBasedTrainLoop

from mmdmt.engine import DMTRunner
from tests.conftest import TINY
from tests.kills import content
from tests.runs import assert_same_weights, state_dict

ROOT = Path(__file__).parents[1] / 'configs'
FOLDERS = ('cct', 'cross_pseudo', 'cutmix_seg', 'fixmatch', 'mean_teacher', 'online_st', 'unimatch')
DIGITS = [
    path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in sorted((ROOT / folder).glob('digits*.py'))
    if path.stem != 'digits_cls'
]  # fmt: skip
TINY_CLS = {
    'dmt.semi.iters': 4,
    'dmt.semi.labeled_per_batch': 4,
    'dmt.semi.unlabeled_per_batch': 6,
    'dmt.rehearse': False,
    'default_hooks.logger.interval': 2,
}
DIGITS_CLS = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob('*/digits_cls.py'))


@pytest.fixture
def tiny_method(tmp_path):
    """``tiny_method(config, {dotted key: value}, folder)``: a method's config whose run takes seconds."""

    def make(name, options=None, folder='run'):
        cfg = Config.fromfile(ROOT / name)
        left_out = ('dmt.label_ratios', 'dmt.models.b')
        own = {key: value for key, value in (TINY if name in DIGITS else TINY_CLS).items() if key not in left_out}
        cfg.merge_from_dict({**own, 'work_dir': str(tmp_path / folder), **(options or {})})
        return cfg

    return make


def scalars(work_dir, phase):
    """What the steps of a phase have logged."""
    lines = (json.loads(line) for path in work_dir.glob(f'{phase}/*/vis_data/scalars.json') for line in path.open())
    return [line for line in lines if 'loss' in line]


@pytest.mark.parametrize('name', DIGITS)
def test_method(tiny_method, tmp_path, name):
    runner = DMTRunner(tiny_method(name))
    runner.train()
    assert [phase.name for phase in runner.manifest.phases] == ['00_train_a', '01_train_a']
    steps = scalars(tmp_path / 'run', '01_train_a')
    assert steps
    assert all(math.isfinite(value) for step in steps for value in step.values())
    # The result is an ordinary stock model.
    cfg, weights = Config.fromfile(tmp_path / 'run/best.py'), state_dict(tmp_path / 'run/best.pth')
    assert (cfg.model.type, cfg.model.decode_head.loss_decode.type) == ('EncoderDecoder', 'CrossEntropyLoss')
    with DefaultScope.overwrite_default_scope('mmseg'):
        MODELS.build(cfg.model).load_state_dict(weights)  # strictly
    whole = state_dict(tmp_path / 'run/01_train_a/iter_4.pth')
    prefix = 'teacher.' if any(key.startswith('teacher.') for key in whole) else 'student.'
    assert all(torch.equal(weights[key], whole[prefix + key]) for key in weights)
    # It scores what the method scored, as a whole and taken from the method's own checkpoint.
    expected = runner.manifest.record('01_train_a')['metrics']['mIoU']
    assert runner.val()['mIoU'] == expected
    runner.cfg.load_from = str(tmp_path / 'run/01_train_a/iter_4.pth')
    assert DMTRunner(runner.cfg).val()['mIoU'] == expected


@pytest.mark.parametrize('name', DIGITS_CLS)
def test_classification_method(tiny_method, tmp_path, name):
    runner = DMTRunner(tiny_method(name))
    runner.train()
    assert [phase.name for phase in runner.manifest.phases] == ['01_train_a']
    steps = scalars(tmp_path / 'run', '01_train_a')
    assert steps
    assert all(math.isfinite(value) for step in steps for value in step.values())
    stock, weights = Config.fromfile(tmp_path / 'run/best.py'), state_dict(tmp_path / 'run/best.pth')
    assert (stock.model.type, stock.model.head.loss.type) == ('ImageClassifier', 'CrossEntropyLoss')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        MODELS.build(stock.model).load_state_dict(weights)  # strictly
    assert runner.val()['accuracy/top1'] == runner.manifest.record('01_train_a')['metrics']['accuracy/top1']


def test_it_starts_from_the_baseline_and_sees_no_mask_of_unlabeled_images(tiny_method, tmp_path, monkeypatch):
    seen = []
    run_iter = IterBasedTrainLoop.run_iter

    def record(self, batch):
        if 'weak' in batch:
            if not seen:
                seen.append({key: value.clone() for key, value in self.runner.model.state_dict().items()})
            seen.append(batch)
        run_iter(self, batch)

    monkeypatch.setattr(IterBasedTrainLoop, 'run_iter', record)
    DMTRunner(tiny_method('cutmix_seg/digits.py')).train()
    start, *batches = seen
    baseline = state_dict(tmp_path / 'run/00_train_a/iter_4.pth')
    for network in ('student', 'teacher'):
        assert all(torch.equal(start[f'{network}.{key}'], value) for key, value in baseline.items())
    assert len(batches) == 4
    for batch in batches:
        assert {key: len(view['inputs']) for key, view in batch.items()} == dict(labeled=1, weak=2)
        assert all('gt_sem_seg' in sample for sample in batch['labeled']['data_samples'])
        assert not any('gt_sem_seg' in sample for sample in batch['weak']['data_samples'])


def test_without_a_baseline_there_is_one_phase(tiny_method, tmp_path):
    runner = DMTRunner(tiny_method('fixmatch/digits.py', {'dmt.supervised': dict(_delete_=True), 'dmt.rehearse': True}))
    assert '4 optimizer steps, 0 images to label in 0 label phases' in runner.dry_run()
    runner.train()
    assert [phase.name for phase in runner.manifest.phases] == ['01_train_a']
    assert (tmp_path / 'run/best.pth').is_file()


def slow_but(name):
    """All shipped configs of methods; only the named one is not slow."""
    names = [*DIGITS, *DIGITS_CLS]
    return [other if other == name else pytest.param(other, marks=pytest.mark.slow) for other in names]


@pytest.mark.parametrize('name', slow_but('cross_pseudo/digits_dmt.py'))
def test_interrupted_run_ends_equal(tiny_method, tmp_path, monkeypatch, name):
    """Weights, averages, optimizer states, records and the result, bit for bit: a run is stopped one step after it
    has written a checkpoint, and resumed."""
    options = {'dmt.supervised': dict(_delete_=True), 'dmt.semi.iters': 8}  # a checkpoint each 2 steps
    DMTRunner(tiny_method(name, options, folder='whole')).train()
    run_iter, steps, stops = IterBasedTrainLoop.run_iter, [], [5]

    def stopping(self, batch):
        run_iter(self, batch)
        steps.append(self.iter)
        if self.iter in stops:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(IterBasedTrainLoop, 'run_iter', stopping)
        with pytest.raises(KeyboardInterrupt):
            DMTRunner(tiny_method(name, options, folder='stopped')).train()
        assert not (tmp_path / 'stopped/01_train_a/phase.json').exists()
        steps.clear()
        stops.clear()
        DMTRunner(tiny_method(name, {**options, 'resume': True}, folder='stopped')).train()
    assert steps == [5, 6, 7, 8]
    whole, stopped = (content(tmp_path / folder) for folder in ('whole', 'stopped'))
    assert '01_train_a/checkpoint' in whole
    assert whole == stopped


def test_training_twice_gives_the_same(tiny_method, tmp_path):
    for folder in ('first', 'second'):
        DMTRunner(tiny_method('unimatch/digits_v2.py', folder=folder)).train()
    assert_same_weights(*[tmp_path / folder / '01_train_a/iter_4.pth' for folder in ('first', 'second')])


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('fixmatch/digits.py', {'model.threshold': 1.5}, r'FixMatch: threshold=1.5 must be in \[0, 1\]'),
        ('fixmatch/digits.py', {'model.type': 'UniMatch'}, r'UniMatch needs the view\(s\) strong_again; the pipelines'),
        ('unimatch/digits.py', {'model.type': 'FixMatch'}, r'FixMatch does not use the view\(s\) strong_again'),
        ('fixmatch/digits.py', {'model.type': 'MixMatch'}, 'MixMatch is a method for classification; '),
        ('fixmatch/digits.py', {'dmt.semi.labeled_per_batch': 0}, r'dmt\.semi\.labeled_per_batch must be above 0'),
        ('mean_teacher/digits.py', {'model.teacher_momentum': 1.0}, 'teacher_momentum=1.0 must be above 0 and below 1'),
        ('fixmatch/digits.py', {'dmt.unlabeled.pipeline': [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]},
         r'dmt\.unlabeled\.pipeline must end with Views'),
        ('cutmix_seg/digits.py', {'dmt.semi.unlabeled_per_batch': 1, 'dmt.rehearse': True},
         r'phase 01_train_a fails when it is tried for one step: .*unlabeled_per_batch must be at least 2, got 1'),
    ],
)  # fmt: skip
def test_mistakes_are_named_before_the_first_step(tiny_method, name, options, message):
    with pytest.raises(ValueError, match=message):
        DMTRunner(tiny_method(name, options)).dry_run()

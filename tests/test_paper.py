"""The plans of the paper's tables and its cost, on lists of as many names as the data sets have."""

import re
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdmt.cls import cifar
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.run_data import RunData
from mmdmt.experiments import configs
from mmdmt.experiments.plan import ExperimentPlan

ROOT = Path(__file__).parents[1]
VOC = {'trainaug': (0, 10582), 'train': (0, 1464), 'aug': (1464, 10582), 'val': (20000, 21449)}
CITYSCAPES = {'train': 2975, 'val': 500}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Configs and names of all images, without the images; plans and configs are relative to it."""
    folder = tmp_path_factory.mktemp('paper')
    (folder / 'configs').symlink_to(ROOT / 'configs')
    voc = folder / 'data/VOCdevkit/VOC2012'
    for name in ('ImageSets/Segmentation', 'JPEGImages', 'SegmentationClass', 'SegmentationClassAug'):
        (voc / name).mkdir(parents=True)
    for name, ends in VOC.items():
        (voc / f'ImageSets/Segmentation/{name}.txt').write_text('\n'.join(f'{image:06d}' for image in range(*ends)))
    for subset, number in CITYSCAPES.items():
        images = folder / 'data/cityscapes/leftImg8bit' / subset / 'city'
        images.mkdir(parents=True)
        (folder / 'data/cityscapes/gtFine' / subset).mkdir(parents=True)
        for image in range(number):
            (images / f'city_{image:06d}_000000_leftImg8bit.png').touch()
    cifar10 = folder / 'data/cifar10/cifar-10-batches-py'
    cifar10.mkdir(parents=True)
    for name in (*cifar.DMTCIFAR10.TRAIN_FILES, *cifar.DMTCIFAR10.TEST_FILES):
        (cifar10 / name).touch()
    return folder


@pytest.fixture(autouse=True)
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    black = np.broadcast_to(np.zeros((), np.uint8), (10000, 32, 32, 3))
    monkeypatch.setattr(cifar, '_read_batch', lambda *_: cifar._Batch(black, tuple(range(10)) * 1000))
    # tests/test_configs.py builds the models.
    monkeypatch.setattr(configs, 'check_model', lambda *_: None)


JOBS = {
    'voc': {
        'voc_1_106': 'baseline_a baseline_b baseline-all_a dmt',
        'voc_1_50': 'baseline_a baseline_b baseline-all_a dmt',
        'voc_1_20': 'baseline_a baseline_b dmt',
        'voc_1_8': 'baseline_a baseline_b dmt oracle',
    },
    'human_labels': {'voc_1464': 'baseline_a baseline_b dmt oracle'},
    'cityscapes': {
        'cityscapes_1_30': 'baseline_a baseline_b dmt',
        'cityscapes_1_8': 'baseline_a baseline_b dmt oracle',
    },
    'cifar10': {'cifar10_1000': 'baseline_a cl_a dmt_a', 'cifar10_4000': 'baseline_a cl_a dmt_a oracle'},
    'ablations': {
        'deeplabv2_voc_1_20': 'baseline_a baseline_b online-st_a cbst_a dst_a naive dmt flip',
        'deeplabv2_voc_1_50': 'baseline_a baseline_b baseline-all_a online-st_a cbst_a dst_a naive dmt flip',
    },
}


@pytest.fixture
def experiment(request):
    return configs.check_plan(ExperimentPlan.from_file(f'configs/experiments/paper_{request.param}.py'))


@pytest.mark.parametrize(('experiment', 'jobs'), JOBS.items(), indirect=['experiment'], ids=JOBS)
def test_plans_of_the_paper(experiment, jobs):
    """Each seed has the same runs, and the baselines that methods start from see the images they should."""
    found = {}
    for job in experiment.jobs:
        found.setdefault((job.data_set, job.seed), []).append(job.name.rsplit('/')[-1])
    assert found == {
        (data_set, seed): names.split() for data_set, names in jobs.items() for seed in experiment.plan.seeds
    }
    dms = {'voc_1_106', 'voc_1_50', 'deeplabv2_voc_1_50'}
    for job in experiment.jobs:
        if job.role == 'oracle':
            continue
        cfg = configs.job_config(experiment.plan, job, dict.fromkeys('ab', Path('x')), {})
        halves = job.data_set in dms and job.method in ('baseline', 'dmt', 'naive', 'flip')
        assert (cfg.dmt.get('split') or {}).get('difference_maximised') == (0.8 if halves else None), job.name
        split_id = (cfg.dmt.get('split') or {}).get('split_id', 0)
        if 'deeplabv2' in job.data_set:
            assert split_id == (2 if '1_50' in job.data_set else 0)
        elif job.data_set != 'voc_1464':
            assert split_id == job.seed
        own = [name.rsplit('/')[-1] for name in job.needs]
        kind = 'baseline' if halves or job.data_set not in dms else 'baseline-all'
        assert job.role == 'baseline' or own == [f'{kind}_{model}' for model in job.models]


COST = re.findall(
    r'^\| `(configs/dmt/\S+)` \| ([\d,]+) \| ([\d,]+) \| ([\d.]+) \|$', (ROOT / 'docs/paper.md').read_text(), re.M
)
ORACLES = {'voc': 'deeplabv2_voc', 'cityscapes': 'deeplabv2_cityscapes', 'cifar10': 'wrn28-2_cifar10'}


def test_cost_of_every_experiment_is_documented():
    names = {
        f'configs/dmt/{path.name}'
        for kind in ('deeplabv2_[cv]', 'wrn28-2_')
        for path in (ROOT / 'configs/dmt').glob(f'{kind}*')
    }
    assert {name for name, *_ in COST} == names


@pytest.mark.parametrize(('name', 'steps', 'oracle', 'ratio'), COST)
def test_cost(name, steps, oracle, ratio, tmp_path):
    """Optimizer steps of all phases of both models, the baselines included, beside those of the Oracle."""
    cfg = Config.fromfile(name)
    init_default_scope(cfg.default_scope)
    data = RunData(RunPlan.of(cfg), tmp_path)
    data.prepare(tmp_path)
    (key,) = (key for key in ORACLES if key in name)
    expected = Config.fromfile(f'configs/baselines/oracle_{ORACLES[key]}.py').train_cfg.max_iters
    found = sum(item.steps for item in data.phases.values())
    assert (f'{found:,}', f'{expected:,}', f'{found / expected:.1f}') == (steps, oracle, ratio)

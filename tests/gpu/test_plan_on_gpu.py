"""Whole plans on a GPU: mixed precision, memory, labels beside those of a CPU, one NCCL process, equal runs."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from mmdmt.labels.maps import LabelMaps
from tests.gpu.conftest import ROOT, SHORT, finish, options
from tests.runs import state_dict

CONFIG = 'configs/dmt/fcn_digits.py'
PRECISIONS = {
    'float32': [],
    'float16': ['--amp'],
    'bfloat16': ['--amp', 'optim_wrapper.dtype=bfloat16'],
}
# Steps of a few images: enough to compare two runs.
DETERMINISTIC = ('randomness.seed=3', 'randomness.deterministic=True')
IMAGES = 'configs/dmt/wrn10-1_digits.py'
# What these configs have no use for.
WITHOUT = {
    IMAGES: ('dmt.unlabeled.indices',),
    'configs/unimatch/digits.py': ('dmt.label_ratios',),
}
TINY = {**SHORT, 'dmt.supervised.iters': 8, 'dmt.rehearse': False}


def arguments(device, precision):
    amp, own = PRECISIONS[precision][:1], PRECISIONS[precision][1:]
    if device.type == 'cpu':
        own = options(SHORT) + [option for option in own if precision != 'float16']
    changed = ['dmt.keep_labels=True', *own]
    return [CONFIG, *amp, '--cfg-options', *changed]


@pytest.fixture(scope='module')
def plans(start, device):
    """The plan in each precision, and that of images; on a GPU all at the same time, else in turn."""
    of_images = [IMAGES, '--amp', '--cfg-options', 'dmt.keep_labels=True']
    if device.type == 'cpu':
        of_images += options({key: value for key, value in SHORT.items() if key not in WITHOUT[IMAGES]})
    started = {**{precision: arguments(device, precision) for precision in PRECISIONS}, 'images': of_images}
    runs = {}
    for name, given in started.items():
        runs[name] = start(f'digits_{name}', *given)
        if device.type == 'cpu':
            finish(runs[name])
    yield runs
    for run in runs.values():
        run.process.kill()


def records(run):
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(run.folder.glob('*/phase.json'))}


@pytest.mark.parametrize('precision', PRECISIONS)
def test_digits_plan(plans, precision, device, figures):
    """The whole plan succeeds; on a GPU, where it is not shortened, DMT beats its baselines in every precision."""
    run = plans[precision]
    finish(run)
    found = records(run)
    scores = {name: record['metrics']['mIoU'] for name, record in found.items() if 'train' in name}
    assert all(np.isfinite(list(scores.values())))
    last = max(scores)[:2]
    mean = {phase: np.mean([scores[f'{phase}_train_{model}'] for model in 'ab']) for phase in ('00', last)}
    figures(f'digits, {precision}: mIoU of the baselines and of DMT', [mean['00'], mean[last]])
    figures(f'digits, {precision}: seconds by phase', {name: record['seconds'] for name, record in found.items()})
    weights = torch.load(run.folder / 'best.pth', weights_only=True, map_location='cpu')['state_dict']
    assert {value.dtype for value in weights.values()} <= {torch.float32, torch.int64}
    if device.type == 'cuda':
        memory = {name: record['gpu_memory_mib'] for name, record in found.items()}
        figures(f'digits, {precision}: peak MiB of GPU memory by phase', memory)
        assert all(value > 0 for value in memory.values())
        assert mean[last] > mean['00'] + 3


def test_classification_plan(plans, device, figures):
    """The whole plan of the digits as images, in mixed precision, with test outputs that read labels of the GPU."""
    run = plans['images']
    finish(run)
    found = records(run)
    scores = {name: record['metrics']['accuracy/top1'] for name, record in found.items() if 'train' in name}
    last = scores[max(scores)]
    figures('digits as images, mixed precision: accuracy of the baseline and of DMT', [scores[min(scores)], last])
    figures('digits as images: seconds by phase', {name: record['seconds'] for name, record in found.items()})
    command = [sys.executable, ROOT / 'tools/test.py', IMAGES, run.folder / 'best.pth', '--confusion',
               run.folder / 'confusion.csv', '--show-dir', run.folder / 'shown']  # fmt: skip
    subprocess.run([*map(str, command)], cwd=ROOT, check=True)
    assert (run.folder / 'confusion.csv').is_file()
    if device.type == 'cuda':
        assert last > 85


def labels(folder):
    """Class maps and log-odds of a folder of labels, by image."""
    store = LabelMaps(folder)
    names = sorted(path.stem for path in (folder / 'labels').rglob('*.png'))
    selection = store.select(names, 1.0)
    return {name: selection.fields(index, name)['pseudo_label'] for index, name in enumerate(names)}


@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_labels_of_gpu_and_cpu(plans, precision, start, out, device, figures):
    """The CPU labels like the GPU, whatever the precision of training is: images are labeled in float32."""
    run = plans[precision]
    finish(run)
    other = out / f'labels_{precision}'
    shutil.rmtree(other, ignore_errors=True)
    shutil.copytree(run.folder, other)
    shutil.rmtree(other / '01_label_a')
    again = start(
        other.name, *arguments(device, precision), '--resume', '--phase', '01_label_a', CUDA_VISIBLE_DEVICES=''
    )
    finish(again)
    first, second = labels(run.folder / '01_label_a'), labels(other / '01_label_a')
    assert first.keys() == second.keys()
    assert len(first) > 0
    same = np.mean([np.mean(first[name].label == second[name].label) for name in first])
    off = np.concatenate([np.abs(first[name].confidence - second[name].confidence).ravel() for name in first])
    figures(f'labels of GPU and CPU, {precision}: share of equal classes', float(same))
    figures(f'labels of GPU and CPU, {precision}: difference of confidences, mean, 99 %, largest',
            [float(off.mean()), float(np.quantile(off, 0.99)), float(off.max())])  # fmt: skip
    # Convolutions of GPUs compute in TF32, with 10 bits of mantissa: near a border, classes may change.
    assert same > 0.99
    assert off.mean() < 1e-2
    if device.type == 'cpu':
        assert off.max() == 0
    # Confidences of bfloat16 have 8 bits: a few hundred values.
    values = np.unique(np.concatenate([first[name].confidence.ravel() for name in first]))
    assert len(values) > 2000 or device.type == 'cpu'


def test_one_process_of_nccl(start, device, figures):
    """A launcher with one process trains as none does."""
    alone = start('alone', CONFIG, '--cfg-options', *options(TINY), *DETERMINISTIC)
    launcher = ('-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '1')
    launched = start(
        'launched', CONFIG, '--launcher', 'pytorch', '--cfg-options', *options(TINY), *DETERMINISTIC, launcher=launcher
    )
    finish(alone)
    finish(launched)
    backend = 'nccl' if device.type == 'cuda' else 'gloo'
    first, second = state_dict(alone.folder / 'best.pth'), state_dict(launched.folder / 'best.pth')
    off = max(float((first[key].float() - second[key].float()).abs().max()) for key in first)
    figures(f'one process of {backend} against none: largest difference of weights', off)
    assert off < 1e-3


@pytest.mark.parametrize('config', [CONFIG, *WITHOUT])
def test_equal_runs_with_deterministic_kernels(start, config):
    name = config.replace('/', '_').removesuffix('.py')
    tiny = {key: value for key, value in TINY.items() if key not in WITHOUT.get(config, ())}
    runs = [start(f'{name}_{index}', config, '--cfg-options', *options(tiny), *DETERMINISTIC) for index in range(2)]
    for run in runs:
        finish(run)
    first, second = (state_dict(run.folder / 'best.pth') for run in runs)
    assert all(torch.equal(first[key], second[key]) for key in first)

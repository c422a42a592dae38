"""What the docs name exists and does what they say."""

import itertools
import re
from pathlib import Path

import pytest
from mmengine.config import Config, DictAction

from mmdmt.engine.fidelity import published_behaviours
from mmdmt.engine.plan import RunPlan

ROOT = Path(__file__).parents[1]
# A model file of mmsegmentation that the reader copies, and a config that the reader writes.
NOT_SHIPPED = {'configs/_base_/models/pspnet_r50-d8.py', 'configs/dmt/own.py'}
PAPER = (ROOT / 'docs/paper.md').read_text()


def named_configs(text):
    """Paths of configs in a text, with {a,b} expanded."""
    for name in re.findall(r'configs/[\w/{},.-]+\.py', text):
        parts = [part.split(',') for part in re.split(r'[{}]', name)]
        yield from (''.join(choice) for choice in itertools.product(*parts))


@pytest.mark.parametrize('page', ['README.md', *(f'docs/{path.name}' for path in sorted((ROOT / 'docs').glob('*.md')))])
def test_named_configs_exist(page):
    named = set(named_configs((ROOT / page).read_text()))
    assert [name for name in sorted(named - NOT_SHIPPED) if not (ROOT / name).exists()] == []


def test_every_experiment_of_the_paper_is_in_the_table():
    folders = [ROOT / 'configs' / name for name in ('ablations', 'baselines', 'dmt')]
    configs = (path.relative_to(ROOT).as_posix() for folder in folders for path in folder.glob('*deeplabv2_[cv]*.py'))
    assert set(named_configs(PAPER)) == set(configs)


# What the report says otherwise ("Not trained here"), what is our way, and what is a setting like any other.
SILENT = r'supervised_checkpoint|mixup|align_corners|ann_file|epochs|gamma[12]|dataset\.subset'


def options():
    rows = [line for line in PAPER.split('## Behaviors')[1].splitlines() if line.startswith('| ')][2:]
    return [option for row in rows for option in re.findall(r'`([\w.]+=[^`]+)`', row.split('|')[4])]


@pytest.mark.parametrize('option', options())
def test_published_behaviours_are_options_and_are_said(option):
    name = 'wrn28-2_cifar10_1000' if re.match('custom_hooks|model.mixup|train_data', option) else 'deeplabv2_voc_1_20'
    cfg = Config.fromfile(ROOT / f'configs/dmt/{name}.py')
    key, value = option.split('=', 1)
    cfg.merge_from_dict({key: DictAction._parse_iterable(value.strip('"'))})
    assert bool(published_behaviours(RunPlan.of(cfg))) != bool(re.search(SILENT, key))

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
    assert {name for name in named_configs(PAPER) if 'deeplabv2_' in name} == set(configs)


def behaviour_rows():
    """Option cell of each row of the table of behaviors."""
    rows = [line for line in PAPER.split('## Behaviors')[1].splitlines() if line.startswith('| ')][2:]
    assert all(row.count('|') == 6 for row in rows)
    return [row.split('|')[4].strip() for row in rows]


def option_cells():
    """Rows with options, each with options that belong together; one row has two for two models."""
    for cell in behaviour_rows():
        options = re.findall(r'`([\w.]+=[^`]+)`', cell)
        if options:
            yield from ([[option], cell] for option in options) if 'pad_val' in cell else [[options, cell]]


def found_behaviours(name, options):
    cfg = Config.fromfile(ROOT / f'configs/dmt/{name}.py')
    pairs = (option.split('=', 1) for option in options)
    cfg.merge_from_dict({key: DictAction._parse_iterable(value.strip('"')) for key, value in pairs})
    return published_behaviours(RunPlan.of(cfg))


@pytest.mark.parametrize(('options', 'cell'), option_cells())
def test_published_behaviours_are_options_and_are_said(options, cell):
    """An option adds a sentence; the way back from what is on by default takes one away; settings change none."""
    cls = any(re.match(r'custom_hooks|model.mixup|train_data|.*ranges', option) for option in options)
    name = 'wrn28-2_cifar10_1000' if cls else 'deeplabv2_voc_1_20'
    before, after = set(found_behaviours(name, [])), set(found_behaviours(name, options))
    if cell.startswith('setting:'):
        assert after == before
    elif cell.startswith('the other way:'):
        assert after < before
    else:
        assert after > before

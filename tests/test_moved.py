"""Configs written for an earlier version import modules by names that are gone: the modules answer to them."""

import subprocess
import sys
from importlib import import_module

import pytest

from mmdmt.moved import MOVED, keep_old_names

OLD_CONFIG = """
custom_imports = dict(
    imports=['mmdmt.datasets.transforms', 'mmdmt.datasets.digits', 'mmdmt.engine.hook',
             'mmdmt.engine.pseudo_label_writer'],
    allow_failed_imports=False)
"""
OLD_CODE = """
import sys
from mmengine.config import Config

Config.fromfile(sys.argv[1])
from mmengine.registry import HOOKS, METRICS
from mmseg.registry import DATASETS, TRANSFORMS

print(TRANSFORMS.get('LoadDMTAnnotations'), DATASETS.get('DigitScenesDataset'), HOOKS.get('DMTHook'),
      METRICS.get('PseudoLabelWriter'), sep='\\n')

from mmdmt.engine.hook import DMTHook
from mmdmt.losses import DynamicMutualLoss
from mmdmt.losses.dynamic_mutual_loss import DynamicMutualLoss as Loss
from mmdmt.datasets import PseudoLabelDataset
from mmdmt.datasets.unlabeled import PseudoLabelDataset as Dataset
from mmdmt.core import dynamic_weight

assert DynamicMutualLoss is Loss and PseudoLabelDataset is Dataset and HOOKS.get('DMTHook') is DMTHook
print(DynamicMutualLoss, PseudoLabelDataset, type(dynamic_weight), sep='\\n')
"""


@pytest.mark.parametrize(('old', 'new'), MOVED.items())
def test_old_name_is_the_module_that_it_is_now(old, new, monkeypatch):
    monkeypatch.delitem(sys.modules, old, raising=False)  # another test may have imported it
    module = import_module(old)
    assert sys.modules[old] is module is import_module(new)
    assert (module.__name__, module.__spec__.name) == (new, new)
    assert module.__spec__.origin == module.__file__
    assert module.__file__.removesuffix('/__init__.py').removesuffix('.py').endswith(new.replace('.', '/'))


# What earlier code imported from each old name.
PUBLIC = {
    'mmdmt.cls.checks': 'check_labeled',
    'mmdmt.cls.safe_pickle': 'load_pickle',
    'mmdmt.cls.task': 'ClassificationTask',
    'mmdmt.core.experiment': 'plan_jobs',
    'mmdmt.core.label_quality': 'LabelQuality',
    'mmdmt.core.statistics': 'summarise',
    'mmdmt.datasets.checks': 'build_dataset',
    'mmdmt.datasets.digit_rendering': 'render_scene',
    'mmdmt.datasets.digits': 'DigitScenesDataset',
    'mmdmt.datasets.label_maps': 'LabelMaps',
    'mmdmt.datasets.label_store': 'LabelStore',
    'mmdmt.datasets.label_table': 'LabelRow',
    'mmdmt.datasets.samplers': 'LabeledUnlabeledSampler',
    'mmdmt.datasets.stores': 'open_store',
    'mmdmt.datasets.transforms': 'LoadDMTAnnotations',
    'mmdmt.engine.analysis': 'Analysis',
    'mmdmt.engine.analysis_report': 'render_analysis',
    'mmdmt.engine.channels_last': 'ChannelsLastHook',
    'mmdmt.engine.checks': 'check_model',
    'mmdmt.engine.experiment_config': 'job_config',
    'mmdmt.engine.experiment_plan': 'ExperimentPlan',
    'mmdmt.engine.experiment_run': 'JobRun',
    'mmdmt.engine.experiment_table': 'render_split',
    'mmdmt.engine.hook': 'DMTHook',
    'mmdmt.engine.pseudo_label_writer': 'PseudoLabelWriter',
    'mmdmt.seg.checks': 'check_labeled',
    'mmdmt.seg.image_mask_list': 'ImageMaskList',
    'mmdmt.seg.task': 'SegmentationTask',
}


def test_what_earlier_code_imports_is_there():
    assert PUBLIC.keys() == MOVED.keys()
    missing = [(name, public) for name, public in PUBLIC.items() if not hasattr(import_module(name), public)]
    assert missing == []


def test_no_old_name_is_that_of_a_module(root):
    taken = [name for name in MOVED if (root / f'{name.replace(".", "/")}.py').exists()]
    assert taken == []


def test_old_config_and_old_code(root, tmp_path):
    """In a new process, where nothing is imported yet."""
    config = tmp_path / 'old.py'
    config.write_text(OLD_CONFIG)
    done = subprocess.run(
        [sys.executable, '-c', OLD_CODE, str(config)], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-7:] == [
        "<class 'mmdmt.seg.transforms.LoadDMTAnnotations'>",
        "<class 'mmdmt.seg.digits.DigitScenesDataset'>",
        "<class 'mmdmt.engine.hooks.dmt_hook.DMTHook'>",
        "<class 'mmdmt.labels.map_writer.PseudoLabelWriter'>",
        "<class 'mmdmt.losses.dynamic_mutual_loss.DynamicMutualLoss'>",
        "<class 'mmdmt.datasets.unlabeled.PseudoLabelDataset'>",
        "<class 'function'>",
    ]


@pytest.mark.parametrize('name', ['mmdmt.engine.never', 'mmdmt.hook', 'mmdmt.datasets.digits.never', 'never'])
def test_a_name_that_never_was_is_not_found(name):
    with pytest.raises(ModuleNotFoundError) as error:
        import_module(name)
    assert error.value.name == name


def test_names_are_kept_once():
    before = list(sys.meta_path)
    keep_old_names()
    assert sys.meta_path == before

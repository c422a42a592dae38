"""Old names of moved modules stay importable, so configs that list them in ``custom_imports`` keep working."""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    'mmdmt.cls.checks': 'mmdmt.cls.label_checks',
    'mmdmt.cls.safe_pickle': 'mmdmt.safe_pickle',
    'mmdmt.cls.task': 'mmdmt.cls.classification_task',
    'mmdmt.core.experiment': 'mmdmt.experiments.jobs',
    'mmdmt.core.label_quality': 'mmdmt.analysis.label_quality',
    'mmdmt.core.statistics': 'mmdmt.experiments.statistics',
    'mmdmt.datasets.checks': 'mmdmt.datasets.building',
    'mmdmt.datasets.digit_rendering': 'mmdmt.seg.digit_rendering',
    'mmdmt.datasets.digits': 'mmdmt.seg.digits',
    'mmdmt.datasets.label_maps': 'mmdmt.labels.maps',
    'mmdmt.datasets.label_store': 'mmdmt.labels.store',
    'mmdmt.datasets.label_table': 'mmdmt.labels.table',
    'mmdmt.datasets.samplers': 'mmdmt.datasets',
    'mmdmt.datasets.stores': 'mmdmt.labels.stores',
    'mmdmt.datasets.transforms': 'mmdmt.seg.transforms',
    'mmdmt.engine.analysis': 'mmdmt.analysis.label_analysis',
    'mmdmt.engine.analysis_report': 'mmdmt.analysis.report',
    'mmdmt.engine.channels_last': 'mmdmt.engine.hooks',
    'mmdmt.engine.checks': 'mmdmt.engine.model_checks',
    'mmdmt.engine.experiment_config': 'mmdmt.experiments.configs',
    'mmdmt.engine.experiment_plan': 'mmdmt.experiments.plan',
    'mmdmt.engine.experiment_run': 'mmdmt.experiments.job_run',
    'mmdmt.engine.experiment_table': 'mmdmt.experiments.table',
    'mmdmt.engine.hook': 'mmdmt.engine.hooks',
    'mmdmt.engine.pseudo_label_writer': 'mmdmt.labels',
    'mmdmt.seg.checks': 'mmdmt.seg.mask_checks',
    'mmdmt.seg.image_mask_list': 'mmdmt.seg.image_masks',
    'mmdmt.seg.task': 'mmdmt.seg.segmentation_task',
}


class _Finder(MetaPathFinder, Loader):
    """Imports the new module for an old name."""

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec | None] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(MOVED[spec.name])
        self._specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        old = module.__spec__  # the import system has put it there
        if old is not None:
            module.__spec__ = self._specs[old.name]


def keep_old_names() -> None:
    """Make moved modules importable under their old names too."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())

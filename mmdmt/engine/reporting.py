"""Lets a run report itself. What draws reports stands above the engine, so it is found by its name."""

import logging
from importlib import import_module

from mmengine.config import Config
from mmengine.logging import print_log

from mmdmt.config_dicts import type_name
from mmdmt.core.schedule import Phase
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.run_data import RunData

REPORT = 'mmdmt.analysis.run_report'


def report(plan: RunPlan, manifest: Manifest, data: RunData, phase: Phase | None = None) -> None:
    """Write the report of a run so far, unless ``dmt.report`` is False; a failure is a warning and nothing more.

    Args:
        plan: The run.
        manifest: Its state.
        data: Its prepared data.
        phase: The phase that is complete now; None at the start and the end of a run.
    """
    if not plan.settings.report:
        return
    try:
        import_module(REPORT).update(plan, manifest, data, phase)
    except Exception as error:  # a report may fail in any way, and no run may
        text = f'{type(error).__name__}: {error}'.splitlines()[0]
        print_log(f'The report is not up to date, which does the run no harm: {text}', 'current', logging.WARNING)


def keep_class_figures(cfg: Config) -> None:
    """Make the validation of a phase also keep IoU or accuracy of each class, which the stock metrics do not return."""
    evaluator = cfg.get('val_evaluator')
    for metric in evaluator if isinstance(evaluator, list | tuple) else [evaluator]:
        if metric and type_name(metric) == 'IoUMetric' and not metric.get('format_only'):
            metric.update(type='ClassIoUMetric', quiet=True)
        elif metric and type_name(metric) == 'Accuracy':
            metric.update(type='ClassAccuracy')

from types import SimpleNamespace

import pytest
from mmengine.config import Config

from mmdmt.engine import reporting
from mmdmt.engine.stop_signals import Stopped


def plan(report):
    return SimpleNamespace(settings=SimpleNamespace(report=report))


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(reporting, 'print_log', lambda text, *_: lines.append(text))
    return lines


def writer(monkeypatch, update):
    monkeypatch.setattr(reporting, 'import_module', lambda name: SimpleNamespace(update=update))


def test_a_report_that_fails_is_one_line(monkeypatch, said):
    def fail(*_):
        raise KeyError('of\nmany lines')

    writer(monkeypatch, fail)
    reporting.report(plan(True), None, None)
    (line,) = said
    assert line.startswith('The report is not up to date, which does the run no harm: KeyError: ')
    assert '\n' not in line


@pytest.mark.parametrize('stop', [Stopped, KeyboardInterrupt])
def test_a_stopped_run_stops(monkeypatch, said, stop):
    def stopped(*_):
        raise stop

    writer(monkeypatch, stopped)
    with pytest.raises(stop):
        reporting.report(plan(True), None, None)


def test_no_report(monkeypatch, said):
    writer(monkeypatch, lambda *_: said.append('written'))
    reporting.report(plan(False), None, None)
    assert said == []
    reporting.report(plan(True), None, None)
    assert said == ['written']


def test_the_real_writer_is_found():
    assert callable(reporting.import_module(reporting.REPORT).update)


@pytest.mark.parametrize('several', [False, True])
def test_class_iou(several):
    metric = dict(type='IoUMetric', iou_metrics=['mIoU'])
    cfg = Config(dict(val_evaluator=[metric, dict(type='Other')] if several else metric))
    reporting.keep_class_figures(cfg)
    found = cfg.val_evaluator[0] if several else cfg.val_evaluator
    assert found == dict(type='ClassIoUMetric', iou_metrics=['mIoU'], quiet=True)
    if several:
        assert cfg.val_evaluator[1] == dict(type='Other')


@pytest.mark.parametrize(
    'evaluator', [None, dict(type='Other'), dict(type='ClassIoUMetric'), dict(type='IoUMetric', format_only=True)]
)
def test_other_evaluators_stay(evaluator):
    cfg = Config(dict(val_evaluator=evaluator))
    reporting.keep_class_figures(cfg)
    assert cfg.val_evaluator == evaluator


def test_class_accuracy():
    cfg = Config(dict(val_evaluator=dict(type='Accuracy', topk=(1, 5))))
    reporting.keep_class_figures(cfg)
    assert cfg.val_evaluator == dict(type='ClassAccuracy', topk=(1, 5))

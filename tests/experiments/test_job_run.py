"""One run on disk, made by hand; real ones are in tests/tools/test_experiment.py."""

import dataclasses
import json
import math

import pytest
import torch

from mmdmt.experiments.configs import ControlLength, Experiment
from mmdmt.experiments.cost import Cost
from mmdmt.experiments.job_run import Evaluation, JobRun, collect, collect_costs, collect_labels
from mmdmt.experiments.jobs import plan_jobs
from mmdmt.experiments.plan import ExperimentPlan
from mmdmt.experiments.table import LabelAccuracy
from tests.conftest import TINY

METRICS = {'mIoU': 40.0, 'IoU/digit 0': 1.0}


@pytest.fixture
def make(tmp_path, root):
    """``make(keys of the data set)``: the runs of an experiment with one seed, by the name of their folders."""

    def make(tested=(), **data_set):
        digits = dict(
            config=str(root / 'configs/dmt/fcn_digits.py'),
            oracle=str(root / 'configs/baselines/oracle_fcn_digits.py'),
            options={**TINY, 'dmt.label_ratios': (1.0,)},
            **data_set,
        )
        methods = dict(
            dmt=dict(),
            self=dict(self_training=('b',)),
            val=dict(options={'dmt.select': 'val'}),
            anew=dict(options={'dmt.reinitialise': True}),  # a student with new weights weighs no labels yet
        )
        plan = ExperimentPlan.read(dict(seeds=(5,), data_sets=dict(digits=digits), methods=methods), '')
        runs = {name: [('b',) if name == 'self' else ('a', 'b')] for name in methods}
        jobs = plan_jobs((5,), {'digits': ['a', 'b']}, {'digits': runs}, {'digits': ['-']}, control=True)
        control = {'digits': {'control': dict.fromkeys('ab', ControlLength(steps=8, batch_size=3))}}
        experiment = Experiment(plan, jobs, control, {'digits': 'mIoU'}, {'digits': ()}, set(tested))
        found = [JobRun(experiment, job, tmp_path / 'work') for job in jobs]
        return {run.folder.name: run for run in found}

    return make


def complete(run, phase, **record):
    """Complete a phase by hand."""
    folder = run.folder / phase
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({}, folder / 'iter_4.pth')
    (folder / 'phase.json').write_text(json.dumps(dict(checkpoint='iter_4.pth', metrics=METRICS, **record)))


def finish(run):
    """Complete all phases of a method by hand."""
    for model in run.job.models:
        for phase in ('00_train', '01_label', '01_train'):
            complete(run, f'{phase}_{model}')
    (run.folder / 'best.py').touch()


@pytest.fixture
def runs(make):
    """With complete baselines, so that the configs of the others can be written."""
    runs = make()
    prepare(runs)
    return runs


def prepare(runs):
    for model in 'ab':
        complete(runs[f'baseline_{model}'], f'00_train_{model}')
    for run in runs.values():
        run.write_config()


def test_paths(runs, tmp_path):
    assert list(runs) == [
        'baseline_a', 'baseline_b', 'dmt', 'self_b', 'val', 'anew', 'control_a', 'control_b', 'oracle'
    ]  # fmt: skip
    folder = tmp_path / 'work/digits/seed5'
    run = runs['self_b']
    assert (run.folder, run.config_path, run.log_path) == (
        folder / 'self_b',
        folder / 'self_b.py',
        folder / 'self_b.log',
    )


def test_method_needs_the_checkpoints_of_its_baselines(make):
    runs = make()
    complete(runs['baseline_a'], '00_train_a')
    with pytest.raises(FileNotFoundError, match=r'checkpoint of phase 00_train_b not found'):
        runs['dmt'].write_config()
    assert not runs['dmt'].config_path.exists()
    assert not runs['dmt'].is_trained()


def test_config_that_is_there_is_kept_or_refused(runs, make):
    run = runs['dmt']
    before = run.config_path.stat().st_mtime_ns
    run.write_config()
    run.check()
    assert run.config_path.stat().st_mtime_ns == before
    changed = make()['dmt']
    changed.experiment.plan.data_sets['digits'].options['dmt.semi'] = {**TINY['dmt.semi'], 'iters': 9}
    for refused in (changed.check, changed.write_config):
        with pytest.raises(ValueError, match=r'dmt\.py was run with another config \(dmt\.semi\.iters: 4 -> 9\): '):
            refused()
    assert run.config_path.stat().st_mtime_ns == before


def test_run_that_has_not_begun_is_not_checked(make):
    run = make()['dmt']
    run.check()
    assert not run.is_trained()
    assert run.results() == {'val': {}, 'test': {}}


def test_train_arguments(runs):
    expected = {
        'baseline_b': ['--phase', '00_train_b'],
        'control_a': ['--phase', '00_train_a'],
        'dmt': ['--resume'],
        'self_b': ['--resume'],
        'oracle': [],
    }
    for name, arguments in expected.items():
        run = runs[name]
        assert run.train_arguments() == [str(run.config_path), '--work-dir', str(run.folder), *arguments]


def test_oracle_goes_on_from_its_last_checkpoint(runs):
    run = runs['oracle']
    run.folder.mkdir()
    for number in (9, 10):
        torch.save({}, run.folder / f'iter_{number}.pth')
    assert run.train_arguments()[3:] == ['--resume', '--cfg-options', f'load_from={run.folder}/iter_10.pth']


def test_baseline_and_control_are_trained_with_one_phase(runs):
    assert runs['baseline_a'].is_trained()
    assert runs['baseline_a'].is_complete()
    assert runs['baseline_a'].results() == {'val': {'a': METRICS}, 'test': {}}
    assert not runs['control_b'].is_trained()
    complete(runs['control_b'], '00_train_b')
    assert runs['control_b'].is_complete()


def test_method_is_trained_once_its_result_is_written(runs):
    run = runs['dmt']
    finish(run)
    assert run.is_complete()
    (run.folder / 'best.py').unlink()
    assert not run.is_trained()
    (run.folder / 'best.py').touch()
    (run.folder / '01_train_a/phase.json').unlink()
    assert not run.is_trained()


def test_oracle_is_trained_once_its_last_checkpoint_is_whole(runs):
    run = runs['oracle']
    steps = run._written.train_cfg.max_iters
    path = run.folder / f'iter_{steps}.pth'
    run.folder.mkdir()
    path.write_bytes(b'half')
    assert not run.is_trained()
    torch.save({}, path)
    assert run.is_trained()
    assert run.evaluations() == [Evaluation('-', 'val', path, run.folder / 'evaluation/val_-.json')]


def test_what_the_run_has_not_measured_itself_is_tested(make):
    """With ``select='val'``, all metrics of a checkpoint; and the test split where it is another one."""
    runs = make(tested=['digits'], label_images=3)
    prepare(runs)
    for name in ('dmt', 'val'):
        finish(runs[name])
    assert [(item.split, item.model) for item in runs['dmt'].evaluations()] == [('test', 'a'), ('test', 'b')]
    run = runs['val']
    assert [(item.split, item.model) for item in run.evaluations()] == [
        ('val', 'a'), ('test', 'a'), ('val', 'b'), ('test', 'b')
    ]  # fmt: skip
    item, other, of_b = run.evaluations()[:3]
    assert of_b.checkpoint == run.folder / '01_train_b/iter_4.pth'
    checkpoint = run.folder / '01_train_a/iter_4.pth'
    folder = str(run.folder / 'evaluation')
    common = [str(run.config_path), str(checkpoint), '--work-dir', folder, '--json']
    assert run.test_arguments(item) == [*common, f'{folder}/val_a.json', '--val']
    assert run.test_arguments(other) == [*common, f'{folder}/test_a.json']
    other.path.parent.mkdir()
    other.path.write_text('{"mIoU": 7.0}')
    assert other not in run.evaluations()
    assert run.results() == {'val': {}, 'test': {'a': {'mIoU': 7.0}}}
    assert not run.is_complete()


def test_labels_are_compared_where_there_are_some(make):
    runs = make(label_images=3)
    prepare(runs)
    assert [name for name, run in runs.items() if run.to_analyse()] == ['dmt', 'self_b', 'val']
    run = runs['dmt']
    finish(run)
    path = run.folder / 'evaluation/labels_3.json'
    assert run.analyze_arguments() == [
        str(run.config_path), '--work-dir', str(run.folder), '--images', '3', '--json', str(path)
    ]  # fmt: skip
    assert not run.is_complete()
    phases = {
        '01_train_b': dict(teacher='a', iteration=1, accuracy=0.5, accuracy_by_ratio=[0.25, 0.75]),
        '01_train_a': dict(teacher='b', iteration=1, accuracy=0.625, accuracy_by_ratio=[None, 0.125]),
        '02_train_b': dict(teacher='a', iteration=2, accuracy=None, accuracy_by_ratio=[0.375, None]),
    }
    path.parent.mkdir()
    path.write_text(json.dumps(dict(label_ratios=[0.5, 1.0], phases=phases)))
    assert run.is_complete()
    found = run.label_accuracy()
    assert list(found) == ['a', 'b']
    assert found['a'].selected == {1: 50.0, 2: pytest.approx(math.nan, nan_ok=True)}
    assert found['a'].last_by_ratio == {0.5: 37.5, 1.0: pytest.approx(math.nan, nan_ok=True)}
    assert found['b'].selected == {1: 62.5}
    assert runs['self_b'].label_accuracy() == {}
    labels = collect_labels(list(runs.values()), 'digits')
    assert {key: list(seeds) for key, seeds in labels.items()} == {('dmt', 'a'): [5], ('dmt', 'b'): [5]}
    assert labels['dmt', 'b'][5].last_by_ratio[1.0] == 12.5
    assert isinstance(labels['dmt', 'a'][5], LabelAccuracy)


def test_collected_in_the_order_of_the_runs(runs):
    finish(runs['self_b'])
    found = collect([runs['self_b'], runs['baseline_a'], runs['dmt'], runs['baseline_b']], 'digits', 'val')
    assert found == {('self', 'b'): {5: METRICS}, ('baseline', 'a'): {5: METRICS}, ('baseline', 'b'): {5: METRICS}}
    assert list(found) == [('self', 'b'), ('baseline', 'a'), ('baseline', 'b')]
    assert collect(list(runs.values()), 'other', 'val') == {}


def test_the_oracle_of_another_data_set_is_collected_last(runs, monkeypatch):
    monkeypatch.setattr(ExperimentPlan, 'oracle_of', lambda self, name: {'other': 'digits'}.get(name))
    monkeypatch.setattr(JobRun, 'results', lambda run: {'val': dict.fromkeys(run.job.models, METRICS)})
    other = JobRun(runs['dmt'].experiment, dataclasses.replace(runs['dmt'].job, data_set='other'), runs['dmt'].work_dir)
    found = collect([runs['oracle'], runs['baseline_a'], other], 'other', 'val')
    assert list(found) == [('dmt', 'a'), ('dmt', 'b'), ('oracle', '-')]


def test_seeds_are_collected_side_by_side(runs):
    run = runs['baseline_a']
    other = JobRun(run.experiment, dataclasses.replace(run.job, seed=7), run.work_dir)
    complete(other, '00_train_a')
    other.write_config()
    assert collect([run, other], 'digits', 'val') == {('baseline', 'a'): {5: METRICS, 7: METRICS}}


def test_costs_are_collected_where_they_were_measured(runs):
    costs = collect_costs(list(runs.values()), 'digits')
    assert costs == {}  # the baselines were complete, but not measured
    finish(runs['self_b'])
    complete(runs['self_b'], '01_train_b', steps=4, cpu_seconds=2.0, memory_mib=300)
    complete(runs['self_b'], '01_label_b', cpu_seconds=1.0, memory_mib=200)
    assert collect_costs(list(runs.values()), 'digits') == {('self', 'b'): {5: Cost(4, 2.0, 1.0, 300, 0)}}
    assert collect_costs(list(runs.values()), 'other') == {}
    (runs['self_b'].folder / 'best.py').unlink()  # not complete
    assert collect_costs(list(runs.values()), 'digits') == {}

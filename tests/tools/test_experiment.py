"""An experiment of tiny runs: stopped in the middle, started again, its failed run, its table; and bad plans."""

import fcntl
import importlib.util
import json
import runpy
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.fileio import get

from mmdmt.errors import UserError
from mmdmt.experiments.configs import check_plan
from mmdmt.experiments.job_run import JobRun, collect, collect_labels
from mmdmt.experiments.plan import ExperimentPlan, Published
from mmdmt.experiments.statistics import gap_closure
from mmdmt.experiments.table import render_labels
from mmdmt.labels.maps import LabelMaps
from tests.conftest import TINY
from tests.runs import assert_same_weights, mtimes

LOSS = dict(gamma1=0.0, gamma2=0.0)
METHODS = dict(
    dmt=dict(loss=dict(gamma1=3.0, gamma2=1.0)),
    cbst=dict(loss=LOSS, self_training=('a',)),
    # Found by the run itself, which looks at all images.
    broken=dict(options={'dmt.unlabeled.subset': 'labeled'}),
)
RUNS = ['baseline_a', 'baseline_b', 'dmt', 'cbst_a', 'broken', 'oracle']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('experiment')


@pytest.fixture(scope='module')
def write_plan(folder, root):
    """Write the plan of the tests with some of its keys changed; options are those of the tiny runs."""
    oracle = Config.fromfile(root / 'configs/baselines/oracle_fcn_digits.py')
    small = {'train_cfg.max_iters': 4, 'train_dataloader.dataset.indices': 8, 'val_dataloader.dataset.indices': 4}
    oracle.merge_from_dict({**small, 'train_dataloader.batch_size': 2, 'default_hooks.checkpoint.interval': 2})
    oracle.dump(folder / 'oracle.py')

    def write(name='plan', **changes):
        digits = dict(
            config=str(root / 'configs/dmt/fcn_digits.py'),
            oracle=str(folder / 'oracle.py'),
            # A small learning rate: with that of the tiny runs, all models predict background only.
            options={
                **TINY,
                'dmt.label_ratios': (0.5, 1.0),
                'optim_wrapper.optimizer.lr': 1e-3,
                'dmt.unlabeled.data_prefix': dict(seg_map_path='digits://train/masks'),
            },
            frequent_classes=('digit 0', 'digit 7'),
            label_images=3,
        )
        plan = dict(seeds=(5,), data_sets=dict(digits=digits), methods=METHODS, control=False)
        path = folder / f'{name}.py'
        path.write_text('\n'.join(f'{key} = {value!r}' for key, value in {**plan, **changes}.items()))
        return path

    return write


@pytest.fixture(scope='module')
def tool(root):
    """The tool as a module."""
    spec = importlib.util.spec_from_file_location('experiment_tool', root / 'tools/experiment.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def finished(write_plan, folder, root):
    """The experiment, stopped when DMT had labeled for the first time, then started again until its end."""
    plan, work_dir = write_plan(), folder / 'work'
    command = [sys.executable, root / 'tools/experiment.py', plan, '--work-dir', work_dir, '--jobs', '2']
    runs = work_dir / 'digits/seed5'
    with open(folder / 'first.txt', 'w') as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        while not (runs / 'dmt/01_label_a/phase.json').is_file():
            assert process.poll() is None, (folder / 'first.txt').read_text()
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    with open(runs / 'dmt.log') as log:  # its process has ended as well: nothing holds the lock
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    complete = [path.parent.relative_to(runs) for path in runs.glob('*/*/phase.json')]
    # The other run may have been stopped between its last checkpoint and the end of a phase, which then ends again.
    kept = mtimes(runs, *(f'{folder}/{name}' for folder in complete for name in ('phase.json', 'iter_4.pth')))
    assert not (runs / 'dmt/best.py').is_file()
    second = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert second.returncode == 1, second.stdout + second.stderr
    return SimpleNamespace(work_dir=work_dir, runs=runs, plan=plan, code=code, kept=kept, output=second.stdout)


@pytest.fixture(scope='module')
def runs(finished):
    experiment = check_plan(ExperimentPlan.from_file(finished.plan))
    runs = [JobRun(experiment, job, finished.work_dir) for job in experiment.jobs]
    return {run.folder.name: run for run in runs}


def test_stopped_experiment_goes_on(finished, runs):
    """What was complete is not touched; the shared baselines, trained once, are what the methods start from."""
    assert finished.code == 128 + signal.SIGTERM
    assert {path.parent.name for path in finished.kept} >= {'00_train_a', '00_train_b', '01_label_a'}
    assert mtimes(finished.runs, '*/*/phase.json', '*/*/iter_4.pth').items() >= finished.kept.items()
    assert [name for name, run in runs.items() if run.is_complete()] == [name for name in RUNS if name != 'broken']
    for method, model in (('dmt', 'a'), ('dmt', 'b'), ('cbst_a', 'a')):
        baseline = finished.runs / f'baseline_{model}/00_train_{model}/iter_4.pth'
        assert_same_weights(finished.runs / method / f'00_train_{model}/supervised.pth', baseline)


def test_failed_run_is_reported(finished):
    """With the end of its log; the others have gone on."""
    assert 'digits/seed5/broken: FAILED: tools/train.py ended with 2. The last lines of' in finished.output
    assert 'dmt.labeled and dmt.unlabeled share 4 of their images' in finished.output
    assert '1 runs failed or were not started: digits/seed5/broken.' in finished.output
    lines = [json.loads(line) for line in (finished.work_dir / 'processes.jsonl').read_text().splitlines()]
    ended_well = [(line['job'].rsplit('/')[-1], line['tool']) for line in lines if line['returncode'] == 0]
    # The Oracle's may have been stopped after its last checkpoint: nothing was left to train then.
    trained = sorted(name for name, tool in ended_well if tool == 'train.py' and name != 'oracle')
    assert trained == ['baseline_a', 'baseline_b', 'cbst_a', 'dmt']
    assert [name for name, tool in ended_well if tool == 'test.py'] == ['oracle']


def test_table(finished, runs):
    text = (finished.work_dir / 'table.md').read_text()
    assert text in finished.output
    assert 'Not complete, 1 of 6 runs: digits/seed5/broken.' in text
    scores = collect(list(runs.values()), 'digits', 'val')
    rows = [' '.join(row) for row in scores]
    assert rows == ['baseline a', 'baseline b', 'dmt a', 'dmt b', 'cbst a', 'oracle -']
    recorded = json.loads((finished.runs / 'dmt/02_train_b/phase.json').read_text())['metrics']
    assert scores['dmt', 'b'] == {5: recorded}
    classes = {'IoU/background', *(f'IoU/digit {digit}' for digit in range(10))}
    assert recorded.keys() - classes == {'aAcc', 'mIoU', 'mAcc'}
    assert recorded.keys() & classes
    values = {row: {5: seeds[5]['mIoU']} for row, seeds in scores.items()}
    assert len({seeds[5] for seeds in values.values()}) > 3  # so that another row's figure would be noticed
    closed = gap_closure(values['dmt', 'b'], values['baseline', 'b'], values['oracle', '-'])
    rows = text[text.index('## digits') :].splitlines()
    row = next(line for line in rows if line.startswith('| dmt      | b '))
    cells = [cell.strip() for cell in row.split('|')[1:-1]]
    assert cells[2:4] == ['5', f'{recorded["mIoU"]:.1f}']
    assert cells[6] == ('' if closed != closed else f'{closed:.2f}')
    assert float(cells[7]) == pytest.approx(recorded['mIoU'] - values['baseline', 'b'][5], abs=0.0501)


def test_table_in_the_form_of_the_paper(finished, runs, tool):
    """One seed has no deviation. Published figures are added on request only, and marked."""
    text = (finished.work_dir / 'table.md').read_text()
    values = {row: seeds[5]['mIoU'] for row, seeds in collect(list(runs.values()), 'digits', 'val').items()}
    gap = values['dmt', 'b'] - values['oracle', '-']
    assert '*published*' not in text
    assert f'| {values["dmt", "b"]:.2f} ({gap:+.2f})' in text.split('## digits')[0]
    experiment = runs['dmt'].experiment
    figures = dict(source='Table 4', rows=dict(dmt=dict(values=dict(digits=12.5), oracle=20.0)))
    plan = experiment.plan.model_copy(update=dict(published=Published.read(figures, '')))
    record = finished.work_dir / 'processes.jsonl'
    shown = tool.table(replace(experiment, plan=plan), list(runs.values()), record, published=True)
    (line,) = (line for line in shown.splitlines() if '*published* |' in line)
    assert [cell.strip() for cell in line.split('|')[1:-1]] == ['dmt', '*published*', '12.50 (-7.50)']
    assert 'figures of the publication (Table 4), not measured here' in shown
    assert tool.table(replace(experiment, plan=plan), list(runs.values()), record) == text


def test_published_needs_figures(write_plan, tool, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['experiment.py', str(write_plan('bare')), '--table', '--published'])
    with pytest.raises(UserError, match='has no figures of a publication'):
        tool.main(tool.parse_args())


def test_accuracy_of_pseudo_labels(finished, runs):
    """That of the labels on disk of the images looked at, in the table by teacher."""
    labels = collect_labels(list(runs.values()), 'digits')
    assert [*labels] == [('dmt', 'a'), ('dmt', 'b'), ('cbst', 'a')]
    seen = [f'{idx:06d}' for idx in (0, 2, 5)]  # evenly spaced in 6
    for (method, model), seeds in labels.items():
        accuracy = seeds[5]
        assert [*accuracy.selected] == [1, 2]
        folder = finished.runs / (f'{method}_{model}' if method == 'cbst' else method)
        for iteration, ratio in ((1, 0.5), (2, 1.0), (2, 0.5)):
            store = LabelMaps(folder / f'{iteration:02d}_label_{model}')
            thresholds = store.histogram().thresholds(ratio).astype(int)
            right = total = 0
            for name in store.names():
                if name.split('_')[0] in seen:
                    label, code = store.read(name)
                    path = f'digits://train/masks/{name.split("_")[1]}.png'
                    truth = cv2.imdecode(np.frombuffer(get(path), np.uint8), cv2.IMREAD_UNCHANGED)
                    kept = (truth != 255) & (code >= thresholds[label])
                    right, total = right + (kept & (label == truth)).sum(), total + kept.sum()
            assert total
            if (iteration, ratio) == (2, 0.5):
                assert accuracy.last_by_ratio[ratio] == pytest.approx(100 * right / total)
            else:
                assert accuracy.selected[iteration] == pytest.approx(100 * right / total)
        assert accuracy.last_by_ratio[1.0] == accuracy.selected[2]
    assert render_labels(labels, 3) in (finished.work_dir / 'table.md').read_text()


def test_labels_that_are_not_compared_yet(runs, tool):
    own = runs['dmt']
    assert not own.to_analyse()
    digits = own.experiment.plan.data_sets['digits'].model_copy(update=dict(label_images=2))
    plan = own.experiment.plan.model_copy(update=dict(data_sets={'digits': digits}))
    experiment = replace(own.experiment, plan=plan)
    run = JobRun(experiment, own.job, own.work_dir)
    assert run.to_analyse() and not run.is_complete() and run.label_accuracy() == {}
    assert tool.describe([run]) == 'digits/seed5/dmt: to test'
    assert not JobRun(experiment, runs['oracle'].job, own.work_dir).to_analyse()


def test_test_split(finished, runs, root, monkeypatch):
    """Where it is another one, each model is tested on it; here it has the images that were validated on."""
    monkeypatch.setenv('LOCAL_RANK', '0')
    own = runs['dmt']
    run = JobRun(replace(own.experiment, tested={'digits'}), own.job, own.work_dir)
    assert [(item.model, item.split) for item in run.evaluations()] == [('a', 'test'), ('b', 'test')]
    monkeypatch.setattr(sys, 'argv', ['test.py', *run.test_arguments(run.evaluations()[1])])
    runpy.run_path(str(root / 'tools/test.py'), run_name='__main__')
    assert [item.model for item in run.evaluations()] == ['a']
    assert own.is_complete() and not run.is_complete()
    results = run.results()
    assert results['test'].keys() == {'b'}
    assert results['test']['b'] == pytest.approx(results['val']['b'], abs=0.02)
    assert results['val']['a'] != results['val']['b']


def test_oracle_is_tested_as_it_ended(finished):
    """The separate test of the last checkpoint finds what the validation at the end of its training found."""
    found = json.loads((finished.runs / 'oracle/evaluation/val_-.json').read_text())
    log = (finished.runs / 'oracle.log').read_text()
    assert f'mIoU: {found["mIoU"]:.4f}' in log.split('tools/test.py')[0]


def test_changed_plan_is_refused(finished, write_plan):
    changed = write_plan('changed', methods={**METHODS, 'dmt': dict(loss=dict(gamma1=3.0, gamma2=9.0))})
    experiment = check_plan(ExperimentPlan.from_file(changed))
    messages = {}
    for job in experiment.jobs:
        try:
            JobRun(experiment, job, finished.work_dir).check()
        except ValueError as error:
            messages[job.method] = str(error)
    assert list(messages) == ['dmt']
    assert 'model.decode_head.loss_decode.gamma2: 1.0 -> 9.0' in messages['dmt']


def test_process_of_a_killed_experiment_is_waited_for(runs, tool, capfd):
    run = runs['cbst_a']
    with open(run.log_path, 'ab') as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        thread = threading.Thread(target=tool.run_job, args=(run, None), daemon=True)
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
    thread.join(10)
    assert not thread.is_alive()
    assert (
        capfd.readouterr().out.splitlines()[0].endswith('cbst_a: waiting for an earlier process that is still running')
    )


def test_what_runs_elsewhere_comes_last(runs, tool, monkeypatch):
    """Of two jobs that are to do, the one that another experiment runs is waited for when there is nothing else."""
    done = []
    monkeypatch.setattr(tool, 'run_job', lambda run, processes: done.append(run.job.method))
    monkeypatch.setattr(JobRun, 'is_complete', lambda run: False)
    todo = [runs['baseline_a'], runs['oracle']]
    processes = tool.Processes(1, None)
    assert tool.execute(todo, 1, processes) == []
    with open(todo[0].log_path, 'ab') as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert tool.execute(todo, 1, processes) == []
    assert done == ['baseline', 'oracle', 'oracle', 'baseline']


def test_describe(finished, runs, tool, folder):
    assert 'digits/seed5/dmt: complete\n' in tool.describe(list(runs.values()))
    fresh = [JobRun(run.experiment, run.job, folder / 'other') for run in runs.values()]
    assert tool.describe(fresh).splitlines()[:3] == [
        'digits/seed5/baseline_a: to train',
        'digits/seed5/baseline_b: to train',
        'digits/seed5/dmt: to train (after digits/seed5/baseline_a, digits/seed5/baseline_b)',
    ]

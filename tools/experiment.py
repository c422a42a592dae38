"""Compare methods over seeds and data sets: run everything in a plan, and write the table.

Start it again to continue after a failure or a kill. Several processes on one work dir share its runs. For plans, see
configs/experiments/.
"""

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import BinaryIO

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run from a clone, installed or not

from mmdmt.command_line import add_debug_argument, output_folder, run_tool, told_in_short
from mmdmt.errors import UserError
from mmdmt.files import write_text


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('plan', type=Path, help='plan file, e.g. configs/experiments/digits.py')
    parser.add_argument(
        '--work-dir', type=output_folder, help='folder of all runs (default: work_dirs/experiments/PLAN_NAME)'
    )
    parser.add_argument('--jobs', type=int, default=1, help='runs at a time (default: 1)')
    parser.add_argument('--threads', type=int, default=1, help='threads of each run (default: 1)')
    parser.add_argument('--published', action='store_true', help="add the publication's figures of the plan, marked")
    only = parser.add_mutually_exclusive_group()
    only.add_argument('--dry-run', action='store_true', help='check everything, list the runs and stop')
    only.add_argument('--table', action='store_true', help='only write the table of the existing results')
    add_debug_argument(parser)
    args = parser.parse_args()
    for name in ('jobs', 'threads'):
        if getattr(args, name) < 1:
            parser.error(f'--{name} must be at least 1, got {getattr(args, name)}')
    return args


if __name__ == '__main__':
    arguments = parse_args()  # --help and a wrong argument need none of the imports below

with told_in_short():
    from mmdmt.experiments.configs import Experiment, check_plan
    from mmdmt.experiments.cost import render_cost
    from mmdmt.experiments.job_run import JobRun, collect, collect_costs, collect_labels
    from mmdmt.experiments.jobs import ready
    from mmdmt.experiments.paper_table import Column, render_paper
    from mmdmt.experiments.plan import ExperimentPlan
    from mmdmt.experiments.table import EXPLANATION, render_labels, render_split

LOG_TAIL = 20  # lines


class Processes:
    """The running tools of an experiment; :meth:`stop` ends all of them.

    Args:
        threads: Threads per process.
        record: File that gets one line of JSON for each ended process.
    """

    def __init__(self, threads: int, record: Path) -> None:
        self._threads = str(threads)
        self._record = record
        self._running: set[subprocess.Popen] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, tool: str, arguments: list[str], name: str, log: int) -> None:
        """Run a tool; write its output to the file descriptor ``log``. RuntimeError if it fails or is stopped."""
        start = time.perf_counter()
        with self._lock:
            if self._stopped:
                raise RuntimeError('stopped')
            process = subprocess.Popen(
                [sys.executable, str(ROOT / 'tools' / tool), *arguments],
                stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env={**os.environ, 'OMP_NUM_THREADS': self._threads},
            )  # fmt: skip
            self._running.add(process)
        code = process.wait()
        line = dict(job=name, tool=tool, seconds=round(time.perf_counter() - start, 1), returncode=code)
        with self._lock:
            self._running.discard(process)
            with open(self._record, 'a') as file:
                file.write(json.dumps(line) + '\n')
        if code:
            raise RuntimeError(f'tools/{tool} ended with {code}')

    def stop(self) -> None:
        """End all running tools and start no more."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()


def say(text: str) -> None:
    print(f'{time.strftime("%H:%M:%S")} {text}', flush=True)


def lock(log: BinaryIO) -> bool:
    """Lock an open log. False if a process that was started elsewhere holds the lock."""
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_running(run: JobRun) -> bool:
    """Whether a process of another experiment on the work dir executes this run."""
    if not run.log_path.is_file():
        return False
    with open(run.log_path, 'ab') as log:
        return not lock(log)


def run_job(run: JobRun, processes: Processes) -> None:
    """Do the remaining training, tests and analysis of a job."""
    run.write_config()
    with open(run.log_path, 'ab') as log:
        # The tools inherit the lock with the log: the tools of a killed experiment hold it until they end.
        if not lock(log):
            say(f'{run.job.name}: waiting for an earlier process that is still running')
            fcntl.flock(log, fcntl.LOCK_EX)
        if not run.is_trained():
            say(f'{run.job.name}: training')
            processes.run('train.py', run.train_arguments(), run.job.name, log.fileno())
        for evaluation in run.evaluations():
            say(f'{run.job.name}: testing {evaluation.model} on {evaluation.split}')
            processes.run('test.py', run.test_arguments(evaluation), run.job.name, log.fileno())
        if run.to_analyse():
            say(f'{run.job.name}: comparing pseudo labels with the masks')
            processes.run('analyze.py', run.analyze_arguments(), run.job.name, log.fileno())
    say(f'{run.job.name}: complete')


def execute(runs: list[JobRun], workers: int, processes: Processes) -> list[str]:
    """Run incomplete jobs, ``workers`` at a time. Return the names of the jobs that failed or could not start."""
    by_name = {run.job.name: run for run in runs}
    jobs = [run.job for run in runs]
    complete = {name for name, run in by_name.items() if run.is_complete()}
    started, running = set(complete), dict[Future, str]()
    say(f'{len(jobs)} runs, {len(complete)} of them complete')
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                # Jobs that run elsewhere come last: a worker can only wait for them.
                free = sorted(ready(jobs, started, complete), key=lambda job: is_running(by_name[job.name]))
                for job in free[: workers - len(running)]:
                    started.add(job.name)
                    running[pool.submit(run_job, by_name[job.name], processes)] = job.name
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name = running.pop(future)
                    error = future.exception()
                    if error is None:
                        complete.add(name)
                    else:
                        say(f'{name}: FAILED: {error}{log_tail(by_name[name].log_path)}')
        finally:
            processes.stop()  # nothing is left to stop unless this was interrupted
    return [job.name for job in jobs if job.name not in complete]


def log_tail(path: Path) -> str:
    if not path.is_file():
        return ''
    lines = path.read_text(errors='replace').splitlines()[-LOG_TAIL:]
    return '\n'.join([f'. The last lines of {path}:', *(f'    {line}' for line in lines)])


def describe(runs: list[JobRun]) -> str:
    """List the remaining work, run by run."""
    lines = []
    for run in runs:
        state = 'complete' if run.is_complete() else 'to test' if run.is_trained() else 'to train'
        started = ', begun' if state == 'to train' and run.config_path.is_file() else ''
        needs = f' (after {", ".join(run.job.needs)})' if run.job.needs and state == 'to train' else ''
        lines.append(f'{run.job.name}: {state}{started}{needs}')
    return '\n'.join(lines)


def table(experiment: Experiment, runs: list[JobRun], record: Path, published: bool = False) -> str:
    plan = experiment.plan
    parts, columns = list[str](), dict[str, Column]()
    for name, data_set in plan.data_sets.items():
        for split in ['val', 'test'] if name in experiment.tested else ['val']:
            scores = collect(runs, name, split)
            columns[name] = Column(scores, experiment.metrics[name], split)
            text = render_split(scores, experiment.metrics[name], experiment.classes[name], data_set.frequent_classes)
            parts += [f'## {name}, {split}', text if scores else 'Nothing yet.']
        labels = collect_labels(runs, name)
        if labels:
            parts += [f'## {name}, pseudo labels', render_labels(labels, data_set.label_images)]
        costs = collect_costs(runs, name)
        if costs:
            parts += [f'## {name}, cost', render_cost(costs)]
    parts = ['## As the paper prints it', render_paper(columns, plan.published if published else None), *parts]
    missing = [run.job.name for run in runs if not run.is_complete()]
    if missing:
        parts.append(f'Not complete, {len(missing)} of {len(runs)} runs: {", ".join(missing)}.')
    lines = [json.loads(line) for line in record.read_text().splitlines()] if record.is_file() else []
    hours = sum(line['seconds'] for line in lines) / 3600
    parts += [EXPLANATION, f'Time of all processes ({len(lines)}, including failed ones): {hours:.2f} hours.']
    return '\n\n'.join(parts) + '\n'


def main(args: argparse.Namespace) -> int:
    plan = ExperimentPlan.from_file(args.plan)
    if args.published and plan.published is None:
        raise UserError(f'--published: {args.plan} has no figures of a publication (key published)')
    experiment = check_plan(plan)
    work_dir = (args.work_dir or Path('work_dirs/experiments') / args.plan.stem).resolve()
    runs = [JobRun(experiment, job, work_dir) for job in experiment.jobs]
    if args.dry_run:
        for run in runs:
            run.check()
        print(describe(runs))
        return 0
    work_dir.mkdir(parents=True, exist_ok=True)
    record, failed = work_dir / 'processes.jsonl', list[str]()
    if not args.table:
        for run in runs:
            run.check()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        failed = execute(runs, args.jobs, Processes(args.threads, record))
    text = table(experiment, runs, record, args.published)
    write_text(work_dir / 'table.md', text)
    print(f'\n{text}')
    if failed:
        print(f'{len(failed)} runs failed or were not started: {", ".join(failed)}. Start again to continue with them.')
    return 1 if failed else 0


if __name__ == '__main__':
    run_tool(lambda: main(arguments))

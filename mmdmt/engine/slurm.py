"""The phases of a run as jobs of SLURM: each starts when those that it needs are complete."""

import getpass
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from mmdmt.engine.cli import RUN_CONFIG, is_dmt, write_config
from mmdmt.engine.locks import claimed
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.repair import Repair
from mmdmt.errors import InUseError, UserError, listed
from mmdmt.files import write_text

FOLDER = 'slurm'
"""Folder in the work dir with what the jobs need, and with their logs."""
RESULT = 'result'
"""Name of the job that writes the result of a run whose last phases run side by side."""

JOB = """#!/usr/bin/env bash
# The job of a phase: runs the command that it is given. If SLURM asks it to stop, the command saves its state, and the
# job is queued again. Status 75 of the command is not enough: if one process fails, srun stops the others.
asked=''
step=''
trap 'asked=yes; tell' USR1  # the time of the job is nearly over; only this script is told
trap 'asked=yes' TERM
tell() { [ -z "$step" ] || kill -USR1 "$step" 2> /dev/null; }
srun --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" "$@" &
step=$!
[ -z "$asked" ] || tell  # it was asked while it had no step yet
until wait "$step" || ! kill -0 "$step" 2> /dev/null; do :; done  # a signal ends a wait
wait "$step"
status=$?
[ "$status" -ne 0 ] || exit 0
# In a time of grace, only the command is told to stop.
scontrol show job "$SLURM_JOB_ID" | grep -q ' PreemptTime=[0-9]' && asked=yes
# A job that was canceled, or that SLURM itself queues again, is not RUNNING any more.
if [ -n "$asked" ] && [ "$(squeue --noheader --job="$SLURM_JOB_ID" --format=%T)" = RUNNING ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
"""

PLAN = """#!/usr/bin/env bash
# Submits one job for each phase that was not complete when tools/slurm_plan.py wrote this file: all of them, or none.
set -euo pipefail
cd {cwd}
declare -A job=()
trap '[ $? -eq 0 ] || [ ${{#job[@]}} -eq 0 ] || scancel "${{job[@]}}"' EXIT

options=(
{options}
)
command=(
{command}
)

submit() {{  # PHASE [PHASE THAT IT NEEDS ...]
    local name=$1 needs='' needed phase=(--phase "$1") number
    [ "$name" != {result} ] || phase=()  # the whole run, whose phases are complete then
    for needed in "${{@:2}}"; do needs+=:${{job[$needed]}}; done
    number=$(sbatch --parsable --job-name={run}-"$name" --output={logs}/"$name".log "${{options[@]}}" \\
        ${{needs:+--dependency=afterok$needs --kill-on-invalid-dep=yes}} \\
        "${{command[@]}}" ${{phase[@]+"${{phase[@]}}"}})
    job[$name]=${{number%%;*}}
    echo "$name: job ${{job[$name]}}${{needs:+, after ${{needs#:}}}}"
}}

{jobs}
"""

RESERVED = frozenset(
    'array dependency gpus gpus-per-node gpus-per-socket gpus-per-task gres job-name kill-on-invalid-dep no-requeue '
    'nodes ntasks ntasks-per-gpu ntasks-per-node parsable requeue test-only wait wrap a d G J N n W'.split()
)
"""Options of sbatch that the plan sets itself, or that would break it."""


class Job(NamedTuple):
    """A job: the name of its phase, or ``RESULT``, and the names of the jobs that must have ended well before it."""

    name: str
    needs: tuple[str, ...]


class Resources(NamedTuple):
    """What each job gets.

    ``gpus``: GPUs of a node, with one process each, as ``N`` or ``TYPE:N``; 0 for one process without a GPU.
    ``options``: further options of sbatch.
    """

    gpus: str = '1'
    nodes: int = 1
    cpus_per_task: int = 5
    options: tuple[str, ...] = ()

    @property
    def processes(self) -> int:
        """Number of processes of a job."""
        return self.nodes * max(1, int(self.gpus.rpartition(':')[2]))

    def sbatch(self) -> list[str]:
        """Options of sbatch.

        Raises:
            UserError: if one of them is not valid, or would break the plan.
        """
        if not re.fullmatch(r'([\w.-]+:)?\d+', self.gpus):
            raise UserError(f'--gpus {self.gpus}: must be a number of GPUs per node, or TYPE:NUMBER')
        for key in ('nodes', 'cpus_per_task'):
            if getattr(self, key) < 1:
                raise UserError(f'--{key.replace("_", "-")} {getattr(self, key)}: must be 1 or more')
        for option in self.options:
            name = re.match(r'--([\w-]+)|-(\w)', option)
            if name and (name[1] or name[2]) in RESERVED:
                raise UserError(f'{option}: the plan sets this option of sbatch itself; see --gpus and --nodes')
        gres = [] if self.gpus.rpartition(':')[2] == '0' else [f'--gres=gpu:{self.gpus}']
        return [
            f'--nodes={self.nodes}',
            f'--ntasks-per-node={self.processes // self.nodes}',
            f'--cpus-per-task={self.cpus_per_task}',
            *gres,
            '--requeue',
            '--open-mode=append',
            '--signal=B:USR1@120',  # before the end of its time: longer than a step and a checkpoint take
            *self.options,
        ]


def jobs(manifest: Manifest) -> list[Job]:
    """Jobs of the phases that are not complete, each after those that it needs.

    The last phase of a run writes the result. If there are two last ones, neither may see that the other has ended,
    since file systems of clusters show files of other hosts late. A job after both then writes the result.
    """
    todo = [phase for phase in manifest.phases if not manifest.is_complete(phase.name)]
    names = {phase.name for phase in todo}
    found = [Job(phase.name, tuple(name for name in phase.inputs if name in names)) for phase in todo]
    last = names.difference(*(job.needs for job in found))
    if len(last) > 1 or (not found and not (manifest.work_dir / 'best.pth').is_file()):
        found.append(Job(RESULT, tuple(sorted(last))))
    return found


def write_plan(
    cfg: Config, resources: Resources, train: Sequence[str], log: Callable[[str], None]
) -> tuple[Path, list[Job]]:
    """Write what the jobs of a run need into its work dir: the script that submits them, that of a job, the config.

    Jobs read this copy of the config, so later changes of the file do not reach them.

    Args:
        cfg: A DMT config; ``work_dir`` must be set.
        resources: What each job gets.
        train: Command of ``tools/train.py``, without the config.
        log: Called with one line for each damaged file that is found; its phase is then run again.

    Returns:
        Path of the script, and the jobs; no job if the run is complete.

    Raises:
        UserError: if config or resources are not valid, or the work dir holds another run.
        InUseError: if jobs of the run are queued or running.
    """
    if not is_dmt(cfg):
        raise UserError('the config has no runner_type of DMT, so it is none of DMT: tools/slurm_train.sh trains it')
    options, plan, work_dir = resources.sbatch(), RunPlan.of(cfg), Path(cfg.work_dir).resolve()
    manifest, folder = Manifest(work_dir, plan.phases), work_dir / FOLDER
    manifest.check(cfg, resume=True)
    _check_idle(folder / 'job.sh')
    with claimed(work_dir, [phase.name for phase in plan.phases]):
        Repair(manifest, plan.task.store, log).reopen(plan.phases)
        found, path = jobs(manifest), folder / 'plan.sh'
        write_text(folder / 'job.sh', JOB)
        write_config(cfg, folder)
        launcher = ['--launcher', 'slurm'] if resources.processes > 1 else []
        run = [*train, str(folder / RUN_CONFIG), '--work-dir', str(work_dir), '--resume', *launcher]
        write_text(path, _script(folder, options, [str(folder / 'job.sh'), *run], found))
    return path, found


def _script(folder: Path, options: Sequence[str], command: Sequence[str], found: Sequence[Job]) -> str:
    return PLAN.format(
        cwd=shlex.quote(os.getcwd()),
        options='\n'.join(f'    {shlex.quote(option)}' for option in options),
        command='\n'.join(f'    {shlex.quote(part)}' for part in command),
        result=RESULT,
        run=shlex.quote(folder.parent.name),
        logs=shlex.quote(str(folder).replace('%', '%%')),  # sbatch replaces patterns such as %j
        jobs='\n'.join(' '.join(('submit', job.name, *job.needs)) for job in found),
    )


def _check_idle(script: Path) -> None:
    """Refuse a second plan while jobs of an earlier one are left; without a SLURM, there are none."""
    if shutil.which('squeue') is None:
        return
    command = ['squeue', '--noheader', f'--user={getpass.getuser()}', '--format=%A %T %o']
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    rows = [f'{line}  '.split(' ', 2) for line in done.stdout.splitlines()]
    left = [f'{number} ({state})' for number, state, job in rows if job.startswith(f'{script} ')]
    if left:
        raise InUseError(f'{script.parents[1]} has jobs in the queue: {listed(left)}. Wait for them, or scancel them')


def submit(path: Path) -> str:
    """Submit all jobs, or none; returns one line for each.

    Raises:
        UserError: if there is no SLURM here, or if it refuses a job; says what it says.
    """
    if shutil.which('sbatch') is None:
        raise UserError(f'--submit needs sbatch, which is not on this host; on one of a cluster: bash {path}')
    done = subprocess.run(['bash', str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f'status {done.returncode}']
        raise UserError(f'no job is submitted: {said[-1]}')
    return done.stdout.rstrip()

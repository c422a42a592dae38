"""Plan a DMT run as jobs of SLURM, one for each phase that is not complete; --submit also submits them.

Writes WORK_DIR/slurm/plan.sh, a script that submits the jobs, and prints it. Both models of an iteration run side by
side. A job that is preempted, or at the end of its time, saves its state and is queued again. If a job fails, those
that need it are canceled; the same command then plans what is left.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a clone, installed or not

from mmdmt.command_line import add_common_arguments, run_tool
from mmdmt.errors import UserError

FOR_SBATCH = ('partition', 'time', 'account', 'qos', 'mem', 'constraint')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        usage='%(prog)s [-h] [options] CONFIG [-- further options of sbatch]',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config file of a DMT run, or the work dir of a run')
    add_common_arguments(parser)
    parser.add_argument('--amp', action='store_true', help='see tools/train.py')
    parser.add_argument('--accept-changes', action='store_true', help='see tools/train.py')
    parser.add_argument('--submit', action='store_true', help='submit the jobs')
    parser.add_argument(
        '--gpus',
        default='1',
        metavar='[TYPE:]N',
        help='GPUs per node and job, with one process each; 0 for none (default: 1)',
    )
    parser.add_argument('--nodes', type=int, default=1, help='nodes per job (default: 1)')
    parser.add_argument('--cpus-per-task', type=int, default=5, help='CPUs per process (default: 5)')
    for name in FOR_SBATCH:
        parser.add_argument(f'--{name}', help='of each job: see sbatch')
    own, further = sys.argv[1:], []
    if '--' in own:
        own, further = own[: own.index('--')], own[own.index('--') + 1 :]
    args = parser.parse_args(own)
    args.options = tuple(f'--{name}={value}' for name in FOR_SBATCH if (value := getattr(args, name)) is not None)
    args.options += tuple(further)
    return args


def main(args: argparse.Namespace) -> None:
    from mmdmt.engine import slurm
    from mmdmt.engine.amp import enable_amp
    from mmdmt.engine.cli import load_config

    if args.launcher not in ('none', 'slurm'):
        raise UserError(f'--launcher {args.launcher}: srun starts the processes, one for each GPU of --gpus')
    cfg = load_config(args)
    if args.amp:
        enable_amp(cfg)
    flags = ('--accept-changes', '--allow-pickle')
    train = [sys.executable, '-u', str(Path(__file__).resolve().with_name('train.py'))]
    train += [flag for flag in flags if getattr(args, flag.strip('-').replace('-', '_'))]
    resources = slurm.Resources(args.gpus, args.nodes, args.cpus_per_task, args.options)
    path, jobs = slurm.write_plan(cfg, resources, train, log=lambda line: print(line, file=sys.stderr))
    if not jobs:
        print(f'All phases are complete, and the result is {Path(cfg.work_dir) / "best.pth"}')
    elif args.submit:
        print(slurm.submit(path))
    else:
        print(path.read_text(), end='')


if __name__ == '__main__':
    arguments = parse_args()
    run_tool(lambda: main(arguments))

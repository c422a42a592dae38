"""Run DMT, or train an ordinary config, from a config file."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a clone, installed or not

from mmdmt.command_line import add_common_arguments, run_tool
from mmdmt.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', nargs='?', help='config file; or the work dir of a run, to continue it')
    add_common_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const=True,
        default=False,
        metavar='WORK_DIR',
        help='continue the run in the work dir; with WORK_DIR instead of a config, with the config and the options '
        'that the run has',
    )
    parser.add_argument(
        '--accept-changes',
        action='store_true',
        help='resume with another config: complete phases keep their results, the interrupted one starts again',
    )
    parser.add_argument('--amp', action='store_true', help='train in mixed precision: float16, or bfloat16 on a CPU')
    parser.add_argument(
        '--phase', metavar='NAME', help='run only this phase, e.g. 01_train_b; the phases it needs must be complete'
    )
    parser.add_argument('--dry-run', action='store_true', help='check everything, print the plan and stop')
    args = parser.parse_args()
    if args.config is None:  # `--resume` has taken the only path
        if not isinstance(args.resume, str):
            parser.error('a config file, or --resume WORK_DIR, is needed')
        args.config, args.resume = args.resume, True
    elif isinstance(args.resume, str):
        args.work_dir, args.resume = args.resume, True
    return args


def main(args: argparse.Namespace) -> None:
    # Imported late: these take seconds, and --help needs none of them.
    from mmengine.registry import RUNNERS

    from mmdmt.engine.amp import enable_amp
    from mmdmt.engine.cli import is_dmt, load_config
    from mmdmt.engine.hooks import FitHook
    from mmdmt.engine.screen_runner import run_alone

    cfg = load_config(args)
    cfg.resume = bool(args.resume)
    if args.amp:
        enable_amp(cfg)
    if not is_dmt(cfg):
        if args.phase or args.dry_run:
            raise UserError(f'--phase and --dry-run need a DMT config; {args.config} has no runner_type of DMT')
        run_alone(cfg, 'train', FitHook(whole=False))
        return
    runner = RUNNERS.build(cfg)
    if args.dry_run:
        print(runner.dry_run())
    else:
        runner.train(phase=args.phase, accept_changes=args.accept_changes)


if __name__ == '__main__':
    arguments = parse_args()
    run_tool(lambda: main(arguments))

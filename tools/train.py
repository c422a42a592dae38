"""Run DMT, or train an ordinary config, from a config file."""

import argparse
import sys
from pathlib import Path

from mmengine.registry import RUNNERS
from mmengine.runner import Runner

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a clone, installed or not

from mmdmt.command_line import run_tool
from mmdmt.engine.amp import enable_amp
from mmdmt.engine.cli import add_common_arguments, load_config
from mmdmt.engine.hooks import FitHook
from mmdmt.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    add_common_arguments(parser)
    parser.add_argument('--resume', action='store_true', help='continue the run in the work dir')
    parser.add_argument('--amp', action='store_true', help='train in mixed precision: float16, or bfloat16 on a CPU')
    parser.add_argument(
        '--phase', metavar='NAME', help='run only this phase, e.g. 01_train_b; the phases it needs must be complete'
    )
    parser.add_argument('--dry-run', action='store_true', help='check everything, print the plan and stop')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    cfg.resume = args.resume
    if args.amp:
        enable_amp(cfg)
    if 'runner_type' not in cfg:
        if args.phase or args.dry_run:
            raise UserError(f'--phase and --dry-run need a DMT config; {args.config} has no runner_type')
        runner = Runner.from_cfg(cfg)
        runner.register_hook(FitHook(whole=False))
        runner.train()
        return
    runner = RUNNERS.build(cfg)
    if args.dry_run:
        print(runner.dry_run())
    elif args.phase:
        runner.train(phase=args.phase)
    else:
        runner.train()


if __name__ == '__main__':
    run_tool(main)

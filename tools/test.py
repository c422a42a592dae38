"""Test a checkpoint of a DMT run, or of an ordinary config, on the config's test set."""

import argparse
import sys
from pathlib import Path

from mmengine.registry import RUNNERS
from mmengine.runner import Runner

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a clone, installed or not

from mmdmt.engine.cli import add_common_arguments, load_config


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    add_common_arguments(parser)
    parser.add_argument('--out', help='folder for the predicted label maps')
    parser.add_argument('--val', action='store_true', help="evaluate on the config's validation set instead")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    if not Path(args.checkpoint).is_file():
        raise FileNotFoundError(f'checkpoint {args.checkpoint} does not exist')
    cfg.load_from = args.checkpoint
    if args.out is not None:
        cfg.test_evaluator.update(output_dir=args.out)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    if args.val:
        runner.val()
    else:
        runner.test()


if __name__ == '__main__':
    main()

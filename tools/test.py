"""Test a checkpoint of a DMT run, or of an ordinary config, on the config's test set."""

import argparse
import sys
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a clone, installed or not

from mmdmt.command_line import run_tool
from mmdmt.engine.cli import add_common_arguments, load_config
from mmdmt.engine.tta import enable_tta
from mmdmt.errors import MissingFileError, UserError
from mmdmt.files import write_json
from mmdmt.untrusted import load_checkpoint


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    add_common_arguments(parser)
    parser.add_argument(
        '--out', help='folder for the predicted label maps; for classification, file (.pkl) for all predictions'
    )
    evaluation = parser.add_mutually_exclusive_group()
    evaluation.add_argument(
        '--tta',
        action='store_true',
        help='average over several views of each image: those of tta_model and tta_pipeline of the config, by default '
        'scales and mirror images (classification: mirror images)',
    )
    evaluation.add_argument('--val', action='store_true', help="evaluate on the config's validation set instead")
    parser.add_argument('--json', metavar='FILE', type=Path, help='also write the metrics to this file')
    return parser.parse_args()


def save_predictions(cfg: Config, out: str) -> None:
    """Make the test also write predictions: label maps, or for classification a list of all predictions."""
    if cfg.default_scope == 'mmseg':
        cfg.test_evaluator.update(output_dir=out)
    elif not out.endswith(('.pkl', '.pickle')):
        raise UserError(f'--out {out}: classification writes one file, which must end with .pkl or .pickle')
    else:
        metrics = cfg.test_evaluator
        metrics = list(metrics) if isinstance(metrics, list | tuple) else [metrics]
        cfg.test_evaluator = [*metrics, dict(type='DumpResults', out_file_path=out)]


def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    if not Path(args.checkpoint).is_file():
        raise MissingFileError(f'checkpoint {args.checkpoint} does not exist')
    load_checkpoint(args.checkpoint)  # a bad file is refused before the data is read
    cfg.load_from = args.checkpoint
    if args.out is not None:
        save_predictions(cfg, args.out)
    if args.tta and 'runner_type' not in cfg:
        enable_tta(cfg)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    if args.val:
        metrics = runner.val()
    elif args.tta and 'runner_type' in cfg:
        metrics = runner.test(tta=True)  # the runner merges the model's own options before it wraps the model
    else:
        metrics = runner.test()
    if args.json is not None and is_main_process():
        write_json(args.json, {name: float(value) for name, value in metrics.items()})


if __name__ == '__main__':
    run_tool(main)

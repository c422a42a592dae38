"""Analyze the pseudo labels of a run: with masks of the unlabeled images, their quality and weights, too."""

import argparse
import math
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a clone, installed or not

from mmdmt.command_line import add_common_arguments, output_file, run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file or work dir of a finished or partly finished DMT run')
    add_common_arguments(parser)
    parser.add_argument('--images', type=int, default=100, help='number of unlabeled images, evenly spaced')
    parser.add_argument('--json', type=output_file, help='write the figures only here, instead of WORK_DIR/analysis.*')
    parser.add_argument(
        '--masks', metavar='PREFIX', help='prefix of the masks of the unlabeled images, if the config has none'
    )
    return parser.parse_args()


def without_nan(node: Any) -> Any:
    """Replace NaN with None, since JSON has no NaN: null marks values that could not be measured."""
    if isinstance(node, dict):
        return {key: without_nan(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [without_nan(value) for value in node]
    return None if isinstance(node, float) and math.isnan(node) else node


def main(args: argparse.Namespace) -> None:
    from mmdmt.analysis.label_analysis import Analysis, has_masks, why_not
    from mmdmt.analysis.label_comparison import compare_labels, render_comparison
    from mmdmt.analysis.report import render_analysis
    from mmdmt.analysis.run_record import RunRecord
    from mmdmt.engine.cli import load_config
    from mmdmt.engine.plan import RunPlan
    from mmdmt.errors import UserError
    from mmdmt.files import check_folder, write_json, write_text

    cfg = load_config(args)
    if 'dmt' not in cfg:
        raise UserError(f'{args.config} has no `dmt` dict: it is not a DMT config')
    folder, reason = Path(cfg.work_dir), why_not(RunPlan.of(cfg))
    if args.masks and reason is not None:
        raise UserError(f'--masks: {reason}')
    if not args.json:
        check_folder(folder)
    if args.masks or (reason is None and has_masks(cfg)):
        result = Analysis(cfg, args.masks).run(args.images)
        text = render_analysis(result)
    else:
        record = RunRecord.read(folder)
        result = compare_labels(record, args.images)
        text = render_comparison(record, result)
    write_json(args.json or folder / 'analysis.json', without_nan(result))
    if not args.json:
        write_text(folder / 'analysis.md', text)
    print(text)


if __name__ == '__main__':
    arguments = parse_args()
    run_tool(lambda: main(arguments))

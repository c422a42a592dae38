"""Write the report of a run, or compare several runs, from what their work dirs hold."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a clone, installed or not

from mmdmt.command_line import add_debug_argument, add_pickle_argument, output_folder, run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'work_dirs',
        nargs='+',
        metavar='WORK_DIR',
        help='work dir of a run, complete or not. Several are compared: seeds of one method are averaged, methods '
        'stand side by side; METHOD=WORK_DIR names a method',
    )
    parser.add_argument(
        '--out', type=output_folder, help='folder to write to (default: the work dir; of several, the one above)'
    )
    parser.add_argument(
        '--oracle',
        metavar='FIGURE',
        help='metric of a model that was trained on all labels: a number in percent, a file that tools/test.py --json '
        'wrote, or the work dir of its training',
    )
    parser.add_argument(
        '--control',
        action='append',
        default=[],
        metavar='[MODEL=]FIGURE',
        help='the same of a model after as many steps with labels only; once for each model, or one for all',
    )
    parser.add_argument('--no-pictures', action='store_true', help='make no pictures that a run lacks; load no weights')
    add_pickle_argument(parser)
    add_debug_argument(parser)
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from mmdmt.analysis.references import read_references
    from mmdmt.analysis.run_report import write_report
    from mmdmt.errors import UserError
    from mmdmt.experiments.run_comparison import read_runs, write_comparison

    runs = read_runs(args.work_dirs)
    record = runs[0].record
    references = read_references(args.oracle, args.control, record.models, record.metric)
    if len(runs) > 1:
        if args.control:
            raise UserError(
                '--control is for the report of one run; among several runs, name that of the control: control=DIR'
            )
        folder = args.out or record.work_dir.resolve().parent
        print(f'Report: {write_comparison(runs, folder, references.oracle)}')
        return
    work_dir = record.work_dir
    if not args.no_pictures:
        make_pictures(work_dir)
    print(f'Report: {write_report(work_dir, references, args.out)}')


def make_pictures(work_dir: Path) -> None:
    """Make what the run lacks; a config or data that cannot be read is one line, and no error."""
    from mmdmt.analysis.run_report import lacking, make_up
    from mmdmt.engine.cli import RUN_CONFIG, read_config

    if not lacking(work_dir):
        return
    try:
        cfg = read_config(work_dir / RUN_CONFIG, {})
        cfg.work_dir = str(work_dir)
        make_up(work_dir.resolve(), cfg)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        print(f'No pictures or label figures can be added: {reason}', file=sys.stderr)


if __name__ == '__main__':
    arguments = parse_args()
    run_tool(lambda: main(arguments))

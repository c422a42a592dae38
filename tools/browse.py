"""Show what the training pipeline feeds: images, labels and confidences as a contact sheet (browse.html)."""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a clone, installed or not

from mmdmt.command_line import add_common_arguments, output_file, run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file (of a DMT run or an ordinary one), or the work dir of a run')
    add_common_arguments(parser)
    parser.add_argument('--phase', help='a train phase (default: the last one whose pseudo labels exist)')
    parser.add_argument(
        '--number', type=int, default=12, help='how many samples, in the order of training (default: 12)'
    )
    parser.add_argument(
        '--out',
        type=output_file,
        help='page to write (default: browse.html in the given work dir, or in this folder)',
    )
    args = parser.parse_args()
    args.out = args.out or Path(args.config if Path(args.config).is_dir() else '') / 'browse.html'
    if args.number < 1:
        parser.error(f'--number must be at least 1, got {args.number}')
    return args


def main(args: argparse.Namespace) -> None:
    from mmdmt.analysis.document import as_page
    from mmdmt.analysis.training_samples import sample_sheet, training_set
    from mmdmt.engine.cli import load_config
    from mmdmt.files import write_text

    cfg = load_config(args)
    with tempfile.TemporaryDirectory() as folder:
        name, dataset, indices = training_set(cfg, args.phase, Path(cfg.work_dir).resolve(), Path(folder) / 'splits')
        section = sample_sheet(name, dataset, indices, args.number)
    write_text(args.out, as_page(Path(cfg.work_dir).name, [section]))
    print(f'{section.title}: {args.out}')


if __name__ == '__main__':
    arguments = parse_args()
    run_tool(lambda: main(arguments))

"""Show pseudo labels of a run as a contact sheet: evenly chosen images, or the worst ones."""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a clone, installed or not

from mmdmt.command_line import add_common_arguments, output_file, run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', metavar='WORK_DIR', help='work dir of the run')
    add_common_arguments(parser)
    parser.add_argument('--phase', help='a label phase, e.g. 01_label_a (default: the last one with labels)')
    parser.add_argument('--class', dest='only', metavar='CLASS', help='only labels of this class (name or index)')
    parser.add_argument('--number', type=int, default=20, help='how many images (default: 20)')
    parser.add_argument(
        '--worst',
        type=int,
        metavar='NUMBER',
        help='the images with the most wrong labels instead; if the truth is not known, with the least confidence',
    )
    parser.add_argument('--out', type=output_file, help='page to write (default: WORK_DIR/PHASE.html)')
    args = parser.parse_args()
    for name in ('number', 'worst'):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f'--{name} must be at least 1, got {getattr(args, name)}')
    return args


def main(args: argparse.Namespace) -> None:
    from mmengine.registry import init_default_scope

    from mmdmt.analysis.document import as_page
    from mmdmt.analysis.label_browser import LabelBrowser, last_labels
    from mmdmt.engine.cli import load_config
    from mmdmt.engine.manifest import Manifest
    from mmdmt.engine.plan import RunPlan
    from mmdmt.engine.run_data import RunData
    from mmdmt.files import write_text

    cfg = load_config(args)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    plan, work_dir = RunPlan.of(cfg), Path(cfg.work_dir).resolve()
    data, name = RunData(plan, work_dir), args.phase or last_labels(plan, work_dir)
    with tempfile.TemporaryDirectory() as folder:
        data.prepare(Path(folder) / 'splits')
        browser = LabelBrowser(plan, Manifest(work_dir, plan.phases), data, name)
        section = browser.sheet(args.worst or args.number, args.worst is not None, args.only)
    out = args.out or work_dir / f'{name}.html'
    write_text(out, as_page(work_dir.name, [section]))
    print(f'{section.text[0]} {out}')


if __name__ == '__main__':
    arguments = parse_args()
    run_tool(lambda: main(arguments))

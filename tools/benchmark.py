"""Measure what DMT and the other methods cost beside ordinary training: ratios, each of two works of one run."""

from __future__ import annotations  # types that are imported late

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run from a clone, installed or not

from mmdmt.command_line import add_debug_argument, output_file, run_tool, told_in_short
from mmdmt.errors import UserError
from mmdmt.files import write_json

CONFIGS = ROOT / 'configs'
SHAPES = ((8, 21, 321, 321), (8, 19, 256, 512))
SIZE, CLASSES = (375, 500), 21  # of VOC
SHORT_RUN = {'dmt.supervised.iters': 20, 'dmt.semi': dict(_delete_=True, iters=20, labeled_per_batch=2,
             unlabeled_per_batch=14), 'dmt.label_ratios': (0.5,)}  # fmt: skip
TINY_RUN = {'dmt.labeled.indices': 8, 'dmt.unlabeled.indices': 8, 'val_dataloader.dataset.indices': 4,
            'dmt.supervised.iters': 3,
            'dmt.semi': dict(_delete_=True, iters=3, labeled_per_batch=2, unlabeled_per_batch=2)}  # fmt: skip
BENCHMARKS: dict[str, Callable[[Meter, Path], list[Figure]]] = {
    'loss': lambda meter, folder: overhead.loss_figures(meter, SHAPES),
    'step': lambda meter, folder: step_cost.dmt_figures(CONFIGS, meter, folder, {160: (2, 6), 64: (2, 14)}),
    'classification': lambda meter, folder: step_cost.classification_figures(
        CONFIGS, meter, folder, 16, 48, {8: (10, 1), 32: (28, 2)}
    ),
    'labeling': lambda meter, folder: overhead.labeling_figures(CONFIGS, meter, folder, SIZE, CLASSES),
    'storage': lambda meter, folder: overhead.storage_figures(meter, folder, SIZE, CLASSES),
    'ranking': lambda meter, folder: [overhead.ranking_figure(Meter(), 10**9, CLASSES)],
    'run': lambda meter, folder: overhead.run_figures(CONFIGS, folder, SHORT_RUN),
    'growth': lambda meter, folder: overhead.growth_figures(CONFIGS, folder, TINY_RUN),
    'directions': lambda meter, folder: [
        overhead.directions_figure(
            ROOT / 'tools/train.py',
            CONFIGS / 'dmt/fcn_digits.py',
            folder,
            ['--cfg-options', 'dmt.supervised.iters=100', 'dmt.rehearse=False'],
        )
    ],
    'start': lambda meter, folder: start_cost.start_figures(
        ROOT / 'tools/train.py', CONFIGS / 'dmt/fcn_digits.py', folder, meter.repeats
    ),
    'methods': lambda meter, folder: step_cost.method_figures(CONFIGS, meter, folder),
    'configs': lambda meter, folder: config_cost.config_figures(CONFIGS, meter),
}

ON_GPU = 'configs'  # on a CPU, a step of the largest networks takes a minute


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument(
        '--only',
        nargs='+',
        choices=BENCHMARKS,
        metavar='NAME',
        help=f'measure only these: {", ".join(BENCHMARKS)}; by default, {ON_GPU} on a GPU only',
    )
    parser.add_argument('--repeats', type=int, default=11, help='the fastest of so many measurements counts')
    parser.add_argument('--json', type=output_file, help='write the figures to this file, too')
    add_debug_argument(parser)
    return parser.parse_args()


if __name__ == '__main__':
    arguments = parse_args()  # --help and a wrong argument need none of the imports below

with told_in_short():
    import torch

    from mmdmt.engine.console import drop_printed_chatter

    drop_printed_chatter()

    from mmdmt.analysis import config_cost, overhead, start_cost, step_cost
    from mmdmt.analysis.measuring import Figure, Meter


def table(figures: list[Figure]) -> str:
    """Figures as a Markdown table."""
    rows = [f'| {item.work} | {item.against} | {item.ratio:.3g} | {item.note} |' for item in figures]
    return '\n'.join(['| work | against | ratio | |', '| --- | --- | --- | --- |', *rows])


def main(args: argparse.Namespace) -> None:
    if args.repeats < 1:
        raise UserError(f'--repeats must be above 0, got {args.repeats}')
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise UserError('--device cuda: torch finds no GPU')
    from mmengine.logging import MMLogger

    torch.set_num_threads(1)
    MMLogger.get_instance('mmengine', log_level='ERROR')  # the initialization of each network
    meter, figures = Meter(args.device, args.repeats), []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.only or [name for name in BENCHMARKS if args.device == 'cuda' or name != ON_GPU]:
            figures += BENCHMARKS[name](meter, Path(folder) / name)
            print(f'{name}: measured', file=sys.stderr)
            if args.json:
                write_json(args.json, dict(device=args.device, figures=[item._asdict() for item in figures]))
    print(table(figures))


if __name__ == '__main__':
    run_tool(lambda: main(arguments))

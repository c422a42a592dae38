"""Test a checkpoint of a DMT run, or of an ordinary config, on the config's test set."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a clone, installed or not

from mmdmt.command_line import add_common_arguments, output_file, output_folder, output_path, run_tool
from mmdmt.errors import MissingFileError, UserError
from mmdmt.files import check_file, check_folder, write_json

if TYPE_CHECKING:
    from mmengine.config import Config


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, or the work dir of a run')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file; default: the result of the run, best.pth')
    add_common_arguments(parser)
    parser.add_argument(
        '--out',
        type=output_path,
        help='folder for the predicted label maps, in the folders of their images; for classification, file (.pkl) '
        'for all predictions',
    )
    evaluation = parser.add_mutually_exclusive_group()
    evaluation.add_argument(
        '--tta',
        action='store_true',
        help='average over several views of each image: those of tta_model and tta_pipeline of the config, by default '
        'scales and mirror images (classification: mirror images)',
    )
    evaluation.add_argument('--val', action='store_true', help="evaluate on the config's validation set instead")
    parser.add_argument('--json', metavar='FILE', type=output_file, help='also write the metrics to this file')
    parser.add_argument(
        '--show-dir',
        metavar='DIR',
        type=output_folder,
        help='folder for pictures: image, prediction over it and truth over it; for classification, the images in '
        'right/ and wrong/',
    )
    parser.add_argument(
        '--confusion',
        metavar='FILE.csv',
        type=output_file,
        help='also write how often each class was predicted as which',
    )
    return parser.parse_args()


def add_writers(cfg: 'Config', args: argparse.Namespace, kind: str) -> None:
    """Make a ``test`` or ``val`` run also write pictures and the confusion matrix, as far as the arguments ask."""
    writers = [
        dict(type=name, out=str(out))
        for name, out in (('ShownPredictions', args.show_dir), ('ConfusionTable', args.confusion))
        if out is not None
    ]
    if not writers:
        return
    import mmdmt.analysis.evaluation_outputs  # noqa: F401  # registers them

    if not cfg.get(f'{kind}_evaluator'):
        raise UserError(f'--show-dir, --confusion: the config has no {kind}_evaluator')
    metrics = cfg[f'{kind}_evaluator']
    cfg[f'{kind}_evaluator'] = [*(metrics if isinstance(metrics, list | tuple) else [metrics]), *writers]


def save_predictions(cfg: 'Config', out: Path, kind: str) -> None:
    """Make a ``test`` or ``val`` run also write predictions: label maps, or a list of those of whole images."""
    for part in ('dataloader', 'evaluator'):
        if not cfg.get(f'{kind}_{part}'):
            raise UserError(f'--out: the config has no {kind}_{part}')
    if cfg.default_scope == 'mmseg':
        check_folder(out)
        from mmdmt.seg.predicted_maps import image_root  # registers the metric

        writer = dict(type='PredictedMaps', out=str(out), root=image_root(cfg[f'{kind}_dataloader'].dataset))
    elif out.suffix not in ('.pkl', '.pickle'):
        raise UserError(f'--out {out}: classification writes one file, which must end with .pkl or .pickle')
    else:
        check_file(out)
        writer = dict(type='DumpResults', out_file_path=str(out))
    metrics = cfg[f'{kind}_evaluator']
    metrics = metrics if isinstance(metrics, list | tuple) else [metrics]
    # Without masks, `format_only` lets the stock metric write what the writer writes.
    cfg[f'{kind}_evaluator'] = [*(metric for metric in metrics if not metric.get('format_only')), writer]


def evaluate(cfg: 'Config', args: argparse.Namespace) -> dict[str, float]:
    """Metrics of the checkpoint that ``load_from`` names; a DMT config first becomes that of the checkpoint's model."""
    from mmengine.registry import RUNNERS

    from mmdmt.engine.cli import is_dmt
    from mmdmt.engine.hooks import FitHook
    from mmdmt.engine.screen_runner import run_alone
    from mmdmt.engine.tta import enable_tta

    if is_dmt(cfg):
        runner = RUNNERS.build(cfg)
        # The runner merges the model's own options before it wraps the model.
        return runner.val() if args.val else runner.test(tta=args.tta)
    if args.tta:
        enable_tta(cfg)
    return run_alone(cfg, 'val' if args.val else 'test', FitHook())


def main(args: argparse.Namespace) -> None:
    from mmengine.dist import is_main_process

    from mmdmt.engine.cli import load_config
    from mmdmt.untrusted import load_checkpoint

    cfg, kind = load_config(args), 'val' if args.val else 'test'
    args.checkpoint = args.checkpoint or str(Path(cfg.work_dir) / 'best.pth')
    if not Path(args.checkpoint).is_file():
        running = 'dmt' in cfg and (Path(cfg.work_dir) / 'dmt.json').is_file()
        hint = ': the run is not complete; tools/train.py --resume continues it' if running else ''
        raise MissingFileError(f'checkpoint {args.checkpoint} does not exist{hint}')
    load_checkpoint(args.checkpoint)  # a bad file is refused before the data is read
    cfg.load_from = args.checkpoint
    if args.out is not None:
        save_predictions(cfg, args.out, kind)
    add_writers(cfg, args, kind)
    metrics = evaluate(cfg, args)
    if args.json is not None and is_main_process():
        write_json(args.json, {name: float(value) for name, value in metrics.items()})


if __name__ == '__main__':
    arguments = parse_args()
    run_tool(lambda: main(arguments))

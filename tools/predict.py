"""Predict images with a trained model: label maps, overlays and confidence; classification: a CSV file."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a clone, installed or not

from mmdmt.command_line import add_common_arguments, output_folder, run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config', help='config file (of a DMT run, an ordinary one, or best.py), or the work dir of a run'
    )
    parser.add_argument('checkpoint', help='checkpoint file, such as best.pth')
    parser.add_argument('images', type=Path, help='an image, a folder (with all folders in it), or a list of images')
    parser.add_argument('out', type=output_folder, help='folder for the predictions')
    add_common_arguments(parser)
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from rich.progress import track

    from mmdmt.analysis.predictions import Predictor, list_images, write_predictions
    from mmdmt.engine.cli import load_config

    images = list_images(args.images)
    predictor = Predictor.of(load_config(args), args.checkpoint)
    done = write_predictions(predictor, images, args.out)
    for _ in track(done, 'Predicting', total=len(images), disable=not sys.stdout.isatty()):
        pass
    print(f'{len(images)} images predicted: {args.out}')


if __name__ == '__main__':
    arguments = parse_args()
    run_tool(lambda: main(arguments))

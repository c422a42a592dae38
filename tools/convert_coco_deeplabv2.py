"""Convert the COCO weights of DeepLab-v2 (resnet101COCO-41f33a49.pth) into a checkpoint of our DeepLab-v2 configs."""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a clone, installed or not

from mmdmt.command_line import add_debug_argument, output_file, run_tool
from mmdmt.errors import UserError
from mmdmt.files import atomic

if TYPE_CHECKING:
    from torch import Tensor

STAGES = {'layer1': (64, 3), 'layer2': (128, 4), 'layer3': (256, 23), 'layer4': (512, 3)}  # channels, blocks
EXPANSION = 4
BRANCHES = 4
CLASSES = 21
SOURCE_HEAD, HEAD = 'layer5.conv2d_list', 'decode_head.branches'
WHERE = (
    'use resnet101COCO-41f33a49.pth, which the repositories of AdvSemiSeg and of the paper (voldemortX/DST-CBC) link to'
)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('input', type=Path, help='resnet101COCO-41f33a49.pth')
    parser.add_argument('output', type=output_file, help='e.g. pretrained/deeplabv2_r101_coco_voc.pth')
    parser.add_argument(
        '--num-classes', type=int, default=CLASSES, help='number of classes of the model (default: 21); for any '
        'other number, e.g. 19 for Cityscapes, the classifiers do not fit and are left out'
    )  # fmt: skip
    add_debug_argument(parser)
    return parser.parse_args(argv)


def layout() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of each tensor in the file: a ResNet-101 with torchvision's names, and the dilated classifiers."""
    yield from _conv_and_norm('conv1', 'bn1', 64, 3, 7)
    width = 64
    for stage, (channels, blocks) in STAGES.items():
        for block in range(blocks):
            prefix = f'{stage}.{block}'
            yield from _conv_and_norm(f'{prefix}.conv1', f'{prefix}.bn1', channels, width, 1)
            yield from _conv_and_norm(f'{prefix}.conv2', f'{prefix}.bn2', channels, channels, 3)
            yield from _conv_and_norm(f'{prefix}.conv3', f'{prefix}.bn3', channels * EXPANSION, channels, 1)
            if block == 0:
                shortcut = f'{prefix}.downsample'
                yield from _conv_and_norm(f'{shortcut}.0', f'{shortcut}.1', channels * EXPANSION, width, 1)
            width = channels * EXPANSION
    for branch in range(BRANCHES):
        yield f'{SOURCE_HEAD}.{branch}.weight', (CLASSES, width, 3, 3)
        yield f'{SOURCE_HEAD}.{branch}.bias', (CLASSES,)


def _conv_and_norm(
    conv: str, norm: str, channels: int, inputs: int, size: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f'{conv}.weight', (channels, inputs, size, size)
    for name in ('weight', 'bias', 'running_mean', 'running_var'):
        yield f'{norm}.{name}', (channels,)


def convert(source: Mapping[str, Any], num_classes: int) -> dict[str, 'Tensor']:
    """Return the state dict of our model, without the classifiers if they do not fit.

    Raises:
        ValueError: if the file does not have exactly the tensors of :func:`layout`; names the difference.
    """
    expected = dict(layout())
    found = {name: value for name, value in source.items() if not name.endswith('num_batches_tracked')}
    for what, names in (
        ('lacks', expected.keys() - found.keys()),
        ('has unknown', found.keys() - expected.keys()),
        ('has other shapes of', {n for n in expected.keys() & found.keys() if _shape(found[n]) != expected[n]}),
    ):
        if names:
            raise UserError(f'the file {what} {len(names)} of {len(expected)} tensors, e.g. {min(names)!r}; {WHERE}')
    return {
        name.replace(SOURCE_HEAD, HEAD) if name.startswith(SOURCE_HEAD) else f'backbone.{name}': found[name]
        for name in expected
        if num_classes == CLASSES or not name.startswith(SOURCE_HEAD)
    }


def _shape(value: Any) -> tuple[int, ...] | None:
    import torch

    return tuple(value.shape) if isinstance(value, torch.Tensor) else None


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    # Imported late: these take seconds, and --help needs none of them.
    import torch

    from mmdmt.untrusted import read_tensors

    state_dict = convert(read_tensors(args.input, WHERE), args.num_classes)
    with atomic(args.output) as file:
        torch.save(dict(meta={}, state_dict=state_dict), file)
    left_out = len(dict(layout())) - len(state_dict)
    print(
        f'{args.output}: {len(state_dict)} tensors matched'
        + (f', {left_out} of the classifiers left out ({args.num_classes} classes, not {CLASSES})' if left_out else '')
    )


if __name__ == '__main__':
    parse_args()  # --help and a wrong argument need none of the imports
    run_tool(main)

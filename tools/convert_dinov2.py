"""Convert the weights of a DINOv2 encoder (dinov2_vitb14_pretrain.pth and the like) for TIMMBackbone."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a clone, installed or not

from mmdmt.command_line import add_debug_argument, output_file, run_tool
from mmdmt.errors import UserError
from mmdmt.files import atomic

if TYPE_CHECKING:
    from torch import Tensor

BLOCKS = {384: ('small', 12), 768: ('base', 12), 1024: ('large', 24)}
"""Width of the embedding -> size of the encoder in the name of timm's model, and number of blocks."""
GRID, PATCH = 37, 14  # 518 pixels a side
PREFIX = 'timm_model.model.'
# Features are taken before the final norm; only pre-training masks patches.
LEFT_OUT = ('norm.weight', 'norm.bias', 'mask_token')
WHERE = (
    'use dinov2_vits14_pretrain.pth, dinov2_vitb14_pretrain.pth or dinov2_vitl14_pretrain.pth, the backbones without '
    'registers that the README of facebookresearch/dinov2 links to'
)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('input', type=Path, help='e.g. dinov2_vitb14_pretrain.pth')
    parser.add_argument('output', type=output_file, help='e.g. pretrained/dinov2_b.pth')
    add_debug_argument(parser)
    return parser.parse_args(argv)


def layout(width: int, blocks: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of each tensor in the file of an encoder."""
    shapes: dict[str, tuple[int, ...]] = {
        'cls_token': (1, 1, width),
        'mask_token': (1, width),
        'pos_embed': (1, 1 + GRID**2, width),
        'patch_embed.proj.weight': (width, 3, PATCH, PATCH),
        'patch_embed.proj.bias': (width,),
        'norm.weight': (width,),
        'norm.bias': (width,),
    }
    for block in range(blocks):
        for name, outputs, inputs in (('attn.qkv', 3, 1), ('attn.proj', 1, 1), ('mlp.fc1', 4, 1), ('mlp.fc2', 1, 4)):
            shapes[f'blocks.{block}.{name}.weight'] = (outputs * width, inputs * width)
            shapes[f'blocks.{block}.{name}.bias'] = (outputs * width,)
        for name in ('norm1.weight', 'norm1.bias', 'norm2.weight', 'norm2.bias', 'ls1.gamma', 'ls2.gamma'):
            shapes[f'blocks.{block}.{name}'] = (width,)
    return shapes


def convert(source: Mapping[str, Any]) -> dict[str, 'Tensor']:
    """Return the state dict of a ``TIMMBackbone`` that gives features of several blocks.

    Raises:
        UserError: if the file does not have exactly the tensors of :func:`layout`; names the difference.
    """
    width = getattr(source.get('pos_embed'), 'shape', (0,))[-1]
    if width not in BLOCKS:
        raise UserError(
            f'the file has no pos_embed of width {", ".join(map(str, BLOCKS))}, got {width or None}; {WHERE}'
        )
    expected = layout(width, BLOCKS[width][1])
    for what, names in (
        ('lacks', expected.keys() - source.keys() - {'mask_token'}),
        ('has unknown', source.keys() - expected.keys()),
        ('has other shapes of', {n for n in expected.keys() & source.keys() if _shape(source[n]) != expected[n]}),
    ):
        if names:
            raise UserError(f'the file {what} {len(names)} of {len(expected)} tensors, e.g. {min(names)!r}; {WHERE}')
    return {f'{PREFIX}{name}': source[name] for name in expected if name not in LEFT_OUT}


def _shape(value: Any) -> tuple[int, ...] | None:
    import torch

    return tuple(value.shape) if isinstance(value, torch.Tensor) else None


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    # Imported late: these take seconds, and --help needs none of them.
    import torch

    from mmdmt.untrusted import read_tensors

    state_dict = convert(read_tensors(args.input, WHERE))
    with atomic(args.output) as file:
        torch.save(dict(meta={}, state_dict=state_dict), file)
    size = BLOCKS[state_dict[f'{PREFIX}cls_token'].shape[-1]][0]
    print(f'{args.output}: {len(state_dict)} tensors of TIMMBackbone(model_name="vit_{size}_patch14_dinov2")')


if __name__ == '__main__':
    parse_args()  # --help and a wrong argument need none of the imports
    run_tool(main)

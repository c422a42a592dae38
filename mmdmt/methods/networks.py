"""What methods do with a stock network of mmseg or mmpretrain, whichever it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mmdmt.errors import UserError

HEADS = ('decode_head.', 'auxiliary_head.', 'head.')


def predicts_pixels(network: nn.Module) -> bool:
    """Whether a network is a segmentor; a classifier otherwise."""
    return hasattr(network, 'encode_decode')


def check_network(network: nn.Module) -> None:
    """Refuse a network whose soft-max is not a distribution over classes, or that mixes images by itself.

    Raises:
        UserError: naming the reason.
    """
    name, head = type(network).__name__, _final_head(network)
    base = 'BaseDecodeHead' if predicts_pixels(network) else 'ClsHead'
    if head is None or not hasattr(network, 'extract_feat'):
        raise UserError(f'model {name} cannot be wrapped: it is neither a segmentor nor a classifier with a head')
    if not any(cls.__name__ == base for cls in type(head).__mro__):
        raise UserError(
            f'model {name} cannot be wrapped: its head {type(head).__name__} is not built on {base}, so it does not '
            'give one score for each class'
        )
    channels = getattr(head, 'out_channels', None)
    if predicts_pixels(network) and channels != head.num_classes:
        raise UserError(
            f'model {name} cannot be wrapped: its head has out_channels={channels} for {head.num_classes} classes; '
            'methods need one channel for each class'
        )
    if getattr(network.data_preprocessor, 'batch_augments', None) is not None:
        raise UserError(
            f'model {name} cannot be wrapped: batch_augments of its data_preprocessor (or train_cfg) would mix the '
            'images of each view differently; leave them out'
        )


def _final_head(network: nn.Module) -> Any:
    head = getattr(network, 'decode_head' if predicts_pixels(network) else 'head', None)
    return head[-1] if isinstance(head, nn.ModuleList) else head


def logits_of(network: nn.Module, images: Tensor) -> Tensor:
    """Compute the logits [N, C, H, W] or [N, C] of images [N, 3, H, W], at the size of the images.

    Raises:
        UserError: if the head gives anything else.
    """
    name = type(_final_head(network)).__name__
    try:
        with _predicting(network):
            logits = _logits(network, images)
    except (AttributeError, LookupError, TypeError) as error:
        raise UserError(
            f'head {name} gives no logits for this method, from features as {type(network.backbone).__name__} gives '
            f'them in training: {type(error).__name__}: {error}'
        ) from error
    if not isinstance(logits, Tensor) or logits.ndim != (4 if predicts_pixels(network) else 2):
        raise UserError(f'head {name} must give logits of each class, got {type(logits).__name__}')
    return logits


def _logits(network: nn.Module, images: Tensor) -> Any:
    if not predicts_pixels(network):
        return network.head(network.extract_feat(images))
    size = images.shape[2:]
    metas = [dict(img_shape=size, ori_shape=size, pad_shape=size, padding_size=[0, 0, 0, 0])] * len(images)
    return network.encode_decode(images, metas)


@contextmanager
def _predicting(network: nn.Module) -> Iterator[None]:
    """Let backbone and heads give what they give in a test, while all of their layers stay in training mode.

    In training, some give what each of several losses needs: K-Net, PIDNet, LeViT.
    """
    head = getattr(network, 'decode_head' if predicts_pixels(network) else 'head', None)
    parts = [network.backbone, *(head if isinstance(head, nn.ModuleList) else [head])]
    modes = [part.training for part in parts]
    for part in parts:
        part.training = False
    try:
        yield
    finally:
        for part, mode in zip(parts, modes, strict=True):
            part.training = mode


@contextmanager
def features_given(network: nn.Module, features: Any) -> Iterator[None]:
    """Make a network use these features, whatever the image: its heads see them in ``loss`` and in ``logits_of``."""
    network.extract_feat = lambda *args, **kwargs: features
    try:
        yield
    finally:
        del network.extract_feat


def map_features(features: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Apply a change to each tensor of the features of a network: a tensor, or lists, tuples or dicts of them."""
    if isinstance(features, Tensor):
        return change(features)
    if isinstance(features, dict):
        return {key: map_features(value, change) for key, value in features.items()}
    if isinstance(features, list | tuple):
        return type(features)(map_features(value, change) for value in features)
    return features


@contextmanager
def no_gradient() -> Iterator[None]:
    """Compute without gradient, also under autocast.

    Autocast keeps its casts of the weights. In some versions of torch, those made here would reach a later forward pass
    without their gradient.
    """
    try:
        with torch.no_grad():
            yield
    finally:
        torch.clear_autocast_cache()


@torch.no_grad()
def average_into(average: nn.Module, network: nn.Module, momentum: float | Tensor, buffers: bool) -> None:
    """Move an average towards a network: ``average = momentum * average + (1 - momentum) * network``.

    Args:
        average: Network of the same architecture.
        network: What is averaged.
        momentum: Share that the average keeps of itself, in [0, 1]; a scalar.
        buffers: Average buffers of floating-point numbers too, and copy the others; if not, all stay unchanged.
    """
    share = 1 - momentum

    def move(own: Tensor, new: Tensor) -> None:
        own.lerp_(new, share.to(own.dtype) if isinstance(share, Tensor) else share)

    for own, new in zip(average.parameters(), network.parameters(), strict=True):
        move(own, new)
    for own, new in zip(average.buffers(), network.buffers(), strict=True) if buffers else ():
        if own.is_floating_point():
            move(own, new)
        else:
            own.copy_(new)

"""A teacher's confidence as log-odds and their 16-bit code, because trained models saturate near probability 1.

The ranking of arXiv 2004.08514 selects by confidence, and a large share of confidences exceeds 0.999. A linear code
cannot rank these. Log-odds in steps of 0.0007 can; they decode to a probability with an error of at most 9.2e-5.
"""

import torch
from torch import Tensor

LOG_ODDS_MIN = -6.0
"""Lower than any log-odds of the top class of up to 255 classes; the lowest is -log(254) = -5.54."""

LOG_ODDS_MAX = 42.0
"""All confidences above it (probability 1 - 6e-19) share the largest code."""

CODE_MAX = 65535

CACHED_PIXELS = 8192
"""Pixels that a CPU encodes at once: their logits of some 20 classes fit into its cache, those of an image do not."""


@torch.no_grad()
def top_log_odds(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Reduce logits to the predicted class and the log-odds of its probability.

    The log-odds are ``z = logit of the top class - logsumexp(other logits)``, always computed in float32. The
    probability is ``sigmoid(z)``.

    Args:
        logits: [N, C, ...], any float dtype, C >= 2.

    Returns:
        label int64 [N, ...] and z float32 [N, ...], on the device of the logits.

    Raises:
        ValueError: fewer than two classes, or logits that give no log-odds (NaN, or several of +inf).

    Example:
        Probabilities 0.9 and 0.1 have odds of 9 to 1.

        >>> label, log_odds = top_log_odds(torch.tensor([[0.9, 0.1]]).log())
        >>> label.tolist(), round(log_odds.exp().item(), 4)
        ([0], 9.0)
    """
    if logits.ndim < 2 or logits.shape[1] < 2:
        raise ValueError(f'logits must be [N, C, ...] with at least 2 classes; got shape {list(logits.shape)}')
    logits = logits.float()
    top, label = logits.max(dim=1, keepdim=True)
    others = logits.scatter(1, label, -torch.inf)
    log_odds = (top - others.logsumexp(dim=1, keepdim=True)).squeeze(1)
    if log_odds.isnan().any():
        raise ValueError('logits must be finite; got NaN log-odds (has the teacher diverged?)')
    return label.squeeze(1), log_odds


@torch.no_grad()
def encode(logits: Tensor, half: bool = False) -> tuple[Tensor, Tensor]:
    """Reduce logits to the predicted class and the 16-bit code of its confidence.

    ``code = round((z + 6) / 48 * 65535)``, clamped to 0..65535. ``z`` are the log-odds of the top class
    (:func:`top_log_odds`). If several classes share the highest logit, the label is the first of them.

    Args:
        logits: [N, C, ...], any float dtype, 2 <= C <= 255 (uint8 label 255 means ignored).
        half: first round the probability to half precision, as the published code does. All probabilities above
            1 - 2**-12 become 1 and get the largest code.

    Returns:
        label uint8 [N, ...] and code int32 [N, ...], on the device of the logits.

    Raises:
        ValueError: C outside 2..255, or logits that give no log-odds (NaN, +inf, or nothing but -inf).

    Example:
        Log-odds of 19 are 25/48 of the way from -6 to 42.

        >>> encode(torch.tensor([[0.0, 19.0]]))
        (tensor([1], dtype=torch.uint8), tensor([34133], dtype=torch.int32))
    """
    if logits.ndim < 2 or not 2 <= logits.shape[1] <= 255:
        raise ValueError(f'logits must be [N, C, ...] with C classes in 2..255; got shape {list(logits.shape)}')
    if logits.ndim == 2 or logits.device.type != 'cpu':
        return _encode(logits, half)
    parts = [_encode(part, half) for part in logits.flatten(2).split(CACHED_PIXELS, dim=2)]
    label, code = (torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True))
    shape = logits.shape[:1] + logits.shape[2:]
    return label.view(shape), code.view(shape)


def _encode(logits: Tensor, half: bool) -> tuple[Tensor, Tensor]:
    label, log_odds = _clear_log_odds(logits.float())
    if half:
        log_odds = log_odds.sigmoid().half().float().logit()
    scaled = (log_odds - LOG_ODDS_MIN) * (CODE_MAX / (LOG_ODDS_MAX - LOG_ODDS_MIN))
    return label, scaled.clamp(0, CODE_MAX).round().to(torch.int32)


def _clear_log_odds(logits: Tensor) -> tuple[Tensor, Tensor]:
    """What :func:`top_log_odds` gives, in half the time: label uint8, and log-odds that are infinite from 87 on."""
    top = logits.amax(1, keepdim=True)
    if not top.isfinite().all():
        raise ValueError('logits must be finite; got NaN log-odds (has the teacher diverged?)')
    below = logits - top
    index = torch.arange(logits.shape[1], dtype=torch.uint8, device=logits.device).view(-1, *[1] * (logits.ndim - 2))
    # Indices with all bits set where a class is not the top one: a maximum with its index takes five times as long.
    label = ((below != 0).view(torch.uint8).neg_() | index).amin(1)
    others = below.exp_().scatter_(1, label.long().unsqueeze(1), 0).sum(1)
    return label, -others.log()


def decode(code: Tensor) -> Tensor:
    """Turn codes back into probabilities: ``sigmoid(code / 65535 * 48 - 6)``.

    Args:
        code: any shape, any integer dtype (torch.uint16 too), values 0..65535.

    Returns:
        float32 of the same shape, at most 1, within 1e-4 of the encoded probability.

    Raises:
        ValueError: code of a floating-point dtype (probably an already decoded confidence).

    Example:
        >>> _, code = encode(torch.tensor([[0.9, 0.1]]).log())
        >>> round(decode(code).item(), 3)
        0.9
    """
    if code.is_floating_point():
        raise ValueError(f'code must have an integer dtype; got {code.dtype}')
    log_odds = code.to(torch.float32) * ((LOG_ODDS_MAX - LOG_ODDS_MIN) / CODE_MAX) + LOG_ODDS_MIN
    return log_odds.sigmoid()

"""Cross-entropy from a log-softmax that the caller has, with a gradient of one pass and no further buffer."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def cross_entropy_from(log_prob: Tensor, logits: Tensor, label: Tensor, ignore_index: int) -> Tensor:
    """Compute the cross-entropy of each pixel, which is 0 where the label is ignored.

    The gradient reaches ``logits``, not ``log_prob``. The backward pass overwrites ``log_prob`` if nobody can ask for
    the gradient again, so the caller must not use it afterwards. Second derivatives are refused.

    Args:
        log_prob: float32 or float64 [N, C, ...], log-softmax of ``logits``, without gradient.
        logits: [N, C, ...], any float dtype.
        label: int64 [N, ...], class index or ``ignore_index``.
        ignore_index: label of pixels without loss.

    Returns:
        The cross-entropy [N, ...], in the dtype of ``log_prob``.

    Raises:
        IndexError: a label that is no class (on the CPU).
        RuntimeError: in the backward pass, with ``create_graph=True``.

    Example:
        >>> logits = torch.tensor([[0.5, 0.5], [0.8, 0.2]]).log().requires_grad_()
        >>> loss = cross_entropy_from(logits.detach().log_softmax(1), logits, torch.tensor([1, 255]), ignore_index=255)
        >>> torch.autograd.grad(loss.sum(), logits)
        (tensor([[ 0.5000, -0.5000],
                [ 0.0000,  0.0000]]),)
    """
    return _CrossEntropy.apply(logits, log_prob, label, ignore_index)


class _CrossEntropy(torch.autograd.Function):
    """Gradient by the logits: ``p - y``, times that of the loss."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, log_prob: Tensor, label: Tensor, ignore_index: int) -> Tensor:
        ctx.save_for_backward(log_prob, label)
        ctx.dtype, ctx.ignore_index = logits.dtype, ignore_index
        return F.nll_loss(log_prob, label, ignore_index=ignore_index, reduction='none')

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        if torch.is_grad_enabled():
            raise RuntimeError('the dynamic loss has no second derivatives: use create_graph=False')
        log_prob, label = ctx.saved_tensors
        valid = label != ctx.ignore_index
        gradient = (gradient * valid).unsqueeze(1)
        # A new buffer of this size costs more than its computation.
        result = log_prob.exp() if _needed_again() else log_prob.exp_()
        result.mul_(gradient)
        result.scatter_add_(1, torch.where(valid, label, 0).unsqueeze(1), -gradient)
        return result.to(ctx.dtype), None, None, None


def _needed_again() -> bool:
    """Whether the backward pass in progress may be repeated (``retain_graph``); True if torch does not tell."""
    if not hasattr(torch.compiler, 'is_compiling') or torch.compiler.is_compiling():  # torch 2.1 lacks it
        return True
    keeps_graph = getattr(torch._C._autograd, '_get_current_graph_task_keep_graph', None)
    return keeps_graph is None or keeps_graph()

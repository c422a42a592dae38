"""Extra forward passes that leave no trace in batch norm."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def frozen_batch_norm(model: nn.Module) -> Iterator[None]:
    """Make batch norm use the batch statistics in training mode without updating its running statistics.

    Example:
        >>> import torch
        >>> norm = nn.BatchNorm1d(1)
        >>> with frozen_batch_norm(norm):
        ...     _ = norm(torch.tensor([[4.0], [8.0]]))
        >>> norm.running_mean
        tensor([0.])
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode; afterwards, each of its modules is in the mode that it was in before.

    Example:
        >>> model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(1).eval())
        >>> with evaluating(model):
        ...     print([module.training for module in model])
        [False, False]
        >>> [module.training for module in model]
        [True, False]
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training

"""Means over the whole batch that several processes share."""

from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mmdmt.core.transfer import to_device


def average_of_processes(value: Tensor) -> Tensor:
    """Average of a scalar over all processes; each of them must ask for it."""
    average = value.float()  # a mean of counts is not whole
    all_reduce(average, 'mean')
    return average


def divides_by_labels(loss: nn.Module) -> bool:
    """Whether a module is a cross-entropy between classes of mmseg that divides by a number which the labels set.

    That is the number of valid pixels, or the sum of their class weights. All processes have the same number of pixels.
    """
    if type(loss).__name__ != 'CrossEntropyLoss' or not hasattr(loss, 'avg_non_ignore'):
        return False
    between_classes = loss.reduction == 'mean' and not loss.use_sigmoid and not loss.use_mask
    return between_classes and (loss.avg_non_ignore or loss.class_weight is not None)


def divide_by_whole_batch(loss: nn.Module) -> RemovableHandle:
    """Let such a cross-entropy divide by the average of that number over all processes.

    The mean of the processes' losses, whose gradient distributed training computes, is then the loss of the whole
    batch. All processes must compute the loss. The returned handle ends it. A single process needs it, too: with class
    weights, mmsegmentation 1.2.2 cannot count the labels itself where pixels are ignored, nor can 1.4.2 with
    ``avg_non_ignore``. Nothing here waits for a GPU.
    """

    def divide(loss: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        label = args[1]
        number = label != kwargs.get('ignore_index', -100)  # the default of mmseg's cross-entropy
        if loss.class_weight is not None:
            weight = to_device(torch.as_tensor(loss.class_weight), label.device)
            number = number * weight[label.where(number, 0)]
        return args, dict(kwargs, avg_factor=average_of_processes(number.sum()))

    return loss.register_forward_pre_hook(divide, with_kwargs=True)

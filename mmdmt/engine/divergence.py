"""What is done when training diverges: nothing that is not finite is written or handed over."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mmdmt.engine.manifest import checkpoints, latest_checkpoint
from mmdmt.errors import DivergedError
from mmdmt.files import write_text

MARK = 'diverged.txt'
"""File in the folder of a phase that has diverged."""


def are_finite(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether weights are finite, with one synchronization of the device for all of them.

    Their norm is what is checked: single precision cannot square a weight above 2e19, which has diverged as well.
    """
    tensors = [value for value in state_dict.values() if torch.is_tensor(value) and value.is_floating_point()]
    norms = [torch.linalg.vector_norm(_widened(tensor.detach())).double() for tensor in tensors]
    return not norms or bool(torch.stack(norms).sum().isfinite())


def _widened(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def diverged(folder: Path, reason: str, step: int) -> DivergedError:
    """Make the last good checkpoint of a phase the newest one, mark the phase, and return the error to raise.

    Args:
        folder: Folder of the phase.
        reason: What was found, with the phase.
        step: The first step whose checkpoint is not good.
    """
    for number, path in checkpoints(folder).items():
        if number >= step:
            path.unlink(missing_ok=True)
    good, _ = latest_checkpoint(folder, ordinary=True)
    kept = f'The last good checkpoint is {good}' if good else 'The phase has no earlier checkpoint'
    message = (
        f'{reason}. {kept}; complete phases are kept. To continue, lower the learning rate or clip gradients '
        '(optim_wrapper.clip_grad) and --resume: this phase then starts again'
    )
    write_text(folder / MARK, message + '\n')
    return DivergedError(message)

"""How well the weights of a checkpoint fit a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from mmdmt.errors import UserError

PREFIX = 'module.'
# Counters of batch norm, which weights of other sources often lack; predictions do not depend on them.
COUNTER = 'num_batches_tracked'


@dataclass(frozen=True)
class Fit:
    """Names of tensors: those that fit, those that only the model has, those that only the checkpoint has.

    ``reshaped``: those that both have, in different shapes.
    """

    fitting: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every tensor of the model is there, in its shape."""
        return not self.missing and not self.reshaped

    def __str__(self) -> str:
        parts = [f'{len(self.fitting)} tensors fit']
        for names, text in (
            (self.missing, 'are missing'),
            (self.reshaped, 'have other shapes'),
            (self.unexpected, 'are unexpected'),
        ):
            parts.append(f'{len(names)} {text}' + (f' ({names[0]!r}, ...)' if names else ''))
        return ', '.join(parts)


def weights_of(checkpoint: Mapping) -> dict[str, Any]:
    """The tensors of a checkpoint by name, as mmengine loads them: without the prefix of a parallel training.

    Example:
        >>> weights_of(dict(state_dict={'module.bias': 1, 'meta': 2}))
        {'bias': 1, 'meta': 2}
    """
    state_dict = checkpoint.get('state_dict', checkpoint)
    return {name.removeprefix(PREFIX): value for name, value in state_dict.items()}


def fit(checkpoint: Mapping, model: nn.Module) -> Fit:
    """Compare the tensors of a checkpoint with those of a model.

    Example:
        >>> print(fit({'module.weight': nn.Linear(2, 3).weight}, nn.Linear(2, 3)))
        1 tensors fit, 1 are missing ('bias', ...), 0 have other shapes, 0 are unexpected
    """
    given, own = weights_of(checkpoint), model.state_dict()
    common = [name for name in own if name in given]
    fitting = [name for name in common if getattr(given[name], 'shape', None) == own[name].shape]
    return Fit(
        fitting=tuple(fitting),
        missing=tuple(name for name in own if name not in given and not name.endswith(COUNTER)),
        unexpected=tuple(name for name in given if name not in own),
        reshaped=tuple(name for name in common if name not in set(fitting)),
    )


def check_complete(checkpoint: Mapping, model: nn.Module, key: str) -> None:
    """Refuse weights that would leave a part of a model as it was initialized.

    Raises:
        UserError: naming ``key`` and the numbers of tensors.
    """
    found = fit(checkpoint, model)
    if not found.complete:
        raise UserError(f'{key} does not fit the model: {found}. Use a checkpoint of exactly this model')


def check_any(checkpoint: Mapping, model: nn.Module, key: str) -> None:
    """Refuse weights of which nothing fits a model.

    Raises:
        UserError: naming ``key``, the number of tensors and a name of each side.
    """
    if not fit(checkpoint, model).fitting:
        given, own = weights_of(checkpoint), model.state_dict()
        raise UserError(
            f'{key}: none of its {len(given)} tensors fits the model (first: {next(iter(given), None)!r}; the model '
            f'has e.g. {next(iter(own), None)!r}): use a checkpoint of this model, converted if needed'
        )

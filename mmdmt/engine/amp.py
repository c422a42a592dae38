"""Mixed precision for all phases, with a CPU replacement for mmengine's optimizer wrapper."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config
from mmengine.device import is_cuda_available, is_mlu_available, is_musa_available, is_npu_available
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner.amp import autocast
from torch import nn

from mmdmt.errors import UserError

# Interchangeable wrappers of a single optimizer.
EXCHANGEABLE = ('OptimWrapper', 'AmpOptimWrapper', 'CPUAmpOptimWrapper')


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Train in bfloat16 on a CPU, where mmengine's ``AmpOptimWrapper`` cannot be built.

    Args:
        loss_scale: Accepted so that one config fits both wrappers, but ignored: bfloat16 has the range of float32.
        dtype: ``bfloat16`` or None, which means the same.
        kwargs: Arguments of ``OptimWrapper``.

    Raises:
        ValueError: if ``dtype`` has another value.
    """

    def __init__(self, loss_scale: Any = None, dtype: str | None = None, **kwargs: Any) -> None:
        if dtype not in (None, 'bfloat16'):
            raise ValueError(f'optim_wrapper.dtype={dtype!r} is not supported on a CPU: use bfloat16')
        super().__init__(**kwargs)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the context of ``OptimWrapper``; autocast decides which operations use bfloat16."""
        with super().optim_context(model), autocast():
            yield


def enable_amp(cfg: Config) -> None:
    """Train in mixed precision: float16 with a dynamic loss scale on a GPU, bfloat16 on a CPU.

    This changes every ``optim_wrapper`` of the config. Those in the ``dmt`` dict are included: their types would
    override the config's and disable mixed precision.

    Raises:
        ValueError: if the type of an ``optim_wrapper`` has no mixed-precision counterpart; names its key.
    """
    # Devices that mmengine's wrapper supports.
    accelerated = any((is_cuda_available(), is_npu_available(), is_mlu_available(), is_musa_available()))
    for key, wrapper in _optim_wrappers(cfg._cfg_dict):
        found = wrapper.get('type', 'OptimWrapper')
        if found not in EXCHANGEABLE:
            raise UserError(f'--amp needs {key}.type to be OptimWrapper, got {found!r}')
        wrapper['type'] = 'AmpOptimWrapper' if accelerated else 'CPUAmpOptimWrapper'


def _optim_wrappers(node: Mapping, prefix: str = '') -> Iterator[tuple[str, dict]]:
    for key, value in node.items():
        if key == 'optim_wrapper' and isinstance(value, dict):
            yield prefix + key, value
        elif isinstance(value, Mapping):
            yield from _optim_wrappers(value, f'{prefix}{key}.')

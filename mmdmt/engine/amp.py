"""Mixed precision in all phases, and what stands in for mmengine's optimizer wrapper on a CPU."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config
from mmengine.device import is_cuda_available, is_mlu_available, is_musa_available, is_npu_available
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner.amp import autocast
from torch import nn

# Wrappers of one optimizer, which can be exchanged for one another.
EXCHANGEABLE = ('OptimWrapper', 'AmpOptimWrapper', 'CPUAmpOptimWrapper')


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Train in bfloat16 on a CPU, where mmengine's ``AmpOptimWrapper`` refuses to be built.

    Args:
        loss_scale: Taken so that one config serves both, and not used: bfloat16 has the range of float32.
        dtype: ``bfloat16``, also where it is None.
        kwargs: Arguments of ``OptimWrapper``.

    Raises:
        ValueError: if ``dtype`` is another one.
    """

    def __init__(self, loss_scale: Any = None, dtype: str | None = None, **kwargs: Any) -> None:
        if dtype not in (None, 'bfloat16'):
            raise ValueError(f'optim_wrapper.dtype={dtype!r}: mixed precision on a CPU is bfloat16')
        super().__init__(**kwargs)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Compute in bfloat16 where it is safe, as autocast decides, beside what ``OptimWrapper`` does."""
        with super().optim_context(model), autocast():
            yield


def enable_amp(cfg: Config) -> None:
    """Train in mixed precision: float16 with a dynamic loss scale on a GPU, bfloat16 on a CPU.

    Every ``optim_wrapper`` of the config is changed, in the ``dmt`` dict too: merged over the config's, the type that
    is written there would take mixed precision back.

    Raises:
        ValueError: if an ``optim_wrapper`` is of a type that has no mixed-precision counterpart, naming its key.
    """
    # Those that mmengine's wrapper works on.
    accelerated = any((is_cuda_available(), is_npu_available(), is_mlu_available(), is_musa_available()))
    for key, wrapper in _optim_wrappers(cfg._cfg_dict):
        found = wrapper.get('type', 'OptimWrapper')
        if found not in EXCHANGEABLE:
            raise ValueError(f'--amp needs {key}.type to be OptimWrapper, got {found!r}')
        wrapper['type'] = 'AmpOptimWrapper' if accelerated else 'CPUAmpOptimWrapper'


def _optim_wrappers(node: Mapping, prefix: str = '') -> Iterator[tuple[str, dict]]:
    for key, value in node.items():
        if key == 'optim_wrapper' and isinstance(value, dict):
            yield prefix + key, value
        elif isinstance(value, Mapping):
            yield from _optim_wrappers(value, f'{prefix}{key}.')

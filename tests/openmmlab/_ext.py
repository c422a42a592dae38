"""Stands in for ``mmcv._ext``, the compiled operations, where only mmcv-lite is installed; for tests.

mmsegmentation 1.2.2 imports all of ``mmcv.ops``, even if no model uses it, and mmcv asks for each operation by name. So
every name exists here, and a call fails. Copied into the folder of mmcv, this file is found by all processes.
"""

from collections.abc import Callable
from typing import Any


def __getattr__(name: str) -> Callable:
    if name.startswith('__'):
        raise AttributeError(name)

    def missing(*_args: Any, **_kwargs: Any) -> None:
        raise NotImplementedError(f'mmcv-lite has no {name}: it needs the compiled mmcv')

    return missing

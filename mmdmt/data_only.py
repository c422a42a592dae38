"""Lets ``torch.load`` read data only, whoever calls it: tensors, numbers, and what else mmengine's checkpoints need."""

import os
import pickle
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer

from mmdmt.safe_pickle import to_bytes

FORCE = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'
# Since 2.4, torch can be given names for its own restricted unpickler.
TAKES_NAMES = hasattr(torch.serialization, 'add_safe_globals')
_STATISTICS = ('min', 'max', 'current', 'mean')
_DTYPES = '? i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8'.split()


@contextmanager
def data_only() -> Iterator[None]:
    """Refuse files that name anything else with ``pickle.UnpicklingError``, even if ``weights_only=False`` is given."""
    with _names_allowed() if TAKES_NAMES else _load_replaced():
        yield


@contextmanager
def _names_allowed() -> Iterator[None]:
    forced = os.environ.get(FORCE)
    added = [item for item in _allowed() if item not in torch.serialization.get_safe_globals()]
    torch.serialization.add_safe_globals(added)
    os.environ[FORCE] = '1'
    try:
        yield
    finally:
        kept = [item for item in torch.serialization.get_safe_globals() if item not in added]
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(kept)
        os.environ.pop(FORCE)
        if forced is not None:
            os.environ[FORCE] = forced


@contextmanager
def _load_replaced() -> Iterator[None]:
    load = torch.load

    def load_data(file: Any, map_location: Any = None, *_: Any, mmap: bool | None = None, **__: Any) -> Any:
        if _is_program(file):
            raise pickle.UnpicklingError('Unsupported global: GLOBAL torch.jit, a program')
        try:
            return load(file, map_location, SimpleNamespace(Unpickler=_Unpickler, load=_load, __name__='data'),
                        weights_only=False, mmap=mmap)  # fmt: skip
        except (TypeError, AttributeError) as error:  # an allowed name with wrong arguments
            raise pickle.UnpicklingError(str(error)) from error

    torch.load = torch.serialization.load = load_data
    try:
        yield
    finally:
        torch.load = torch.serialization.load = load


def _is_program(file: Any) -> bool:
    """Whether ``torch.load`` would take it for a file of TorchScript, which it runs."""
    position = file.tell() if hasattr(file, 'tell') else None
    try:
        with zipfile.ZipFile(file) as archive:
            return any(name.endswith('constants.pkl') for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False
    finally:
        if position is not None:
            file.seek(position)


# The one in Python: its steps can be checked.
_PythonUnpickler: Any = pickle._Unpickler


class _Unpickler(_PythonUnpickler):
    """Knows the names that torch allows, and ours; sets the state of few types only, as torch's own does."""

    dispatch = dict(_PythonUnpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        # Files of protocol 2 have the names of Python 2.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        try:
            return _known_names()[f'{module}.{name}']
        except KeyError:
            raise pickle.UnpicklingError(f'Unsupported global: GLOBAL {module}.{name}') from None

    def load_build(self) -> None:
        owner = self.stack[-2]
        if isinstance(owner, np.dtype):
            _version, order, *_flags = self.stack.pop()  # forged flags would make numpy read pointers in a file
            if order == '>':
                raise pickle.UnpicklingError('Unsupported order of bytes')
        elif type(owner) in (OrderedDict, HistoryBuffer, np.ndarray):
            super().load_build()
        else:
            raise pickle.UnpicklingError(f'Unsupported class {type(owner).__name__} to set the state of')

    dispatch[pickle.BUILD[0]] = load_build


def _load(file: Any, **kwargs: Any) -> Any:
    return _Unpickler(file, **kwargs).load()


@cache
def _known_names() -> dict[str, Any]:
    from torch._weights_only_unpickler import _get_allowed_globals

    own = {f'{item.__module__}.{item.__name__}': item for item in _allowed()}
    return {**_get_allowed_globals(), **own, 'numpy.dtype': _dtype}


def _dtype(code: str, *_flags: Any) -> np.dtype:
    if code not in (*_DTYPES, 'b1'):
        raise pickle.UnpicklingError(f'Unsupported global: GLOBAL numpy.dtype({code!r})')
    return np.dtype(code)


def _statistic(owner: Any, name: str) -> Any:
    """Stand-in for ``getattr``, which a HistoryBuffer's pickle needs for its four statistics.

    With getattr itself, as in mmengine's own list, a file can reach the module ``builtins`` and run any code.
    """
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise pickle.UnpicklingError(f'Unsupported global getattr({owner!r}, {name!r})')
    return getattr(owner, name)


def _named(function: Callable, module: str, name: str) -> Callable:
    """A function that answers to another name in a file."""

    def stand_in(*args: Any) -> Any:
        return function(*args)

    # torch 2.4 looks at __name__, later versions at __qualname__.
    stand_in.__module__, stand_in.__name__, stand_in.__qualname__ = module, name, name
    return stand_in


@cache
def _allowed() -> list[Any]:
    """What mmengine's own checkpoints need besides tensors, whatever version of numpy wrote them."""
    numbers = np.array([0.0])
    reconstruct, scalar = numbers.__reduce__()[0], numbers[0].__reduce__()[0]
    arrays = [
        _named(function, module, name)
        for function, name in ((reconstruct, '_reconstruct'), (scalar, 'scalar'))
        for module in ('numpy.core.multiarray', 'numpy._core.multiarray')
    ]
    dtypes = [type(np.dtype(kind)) for kind in _DTYPES]
    statistic = _named(_statistic, 'builtins', 'getattr')
    encode = _named(to_bytes, '_codecs', 'encode')  # torch 2.4 has not got it in its own list
    nothing = _named(lambda: b'', 'builtins', 'bytes')  # the content of an empty array
    return [HistoryBuffer, statistic, encode, nothing, slice, np.ndarray, np.dtype, *arrays, *dtypes]

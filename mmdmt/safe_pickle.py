"""Read pickles of strings, numbers and uint8 arrays without running any code that a pickle names."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np


def load_pickle(path: str | Path) -> Any:
    """Read a pickle of dicts, lists, tuples, str, bytes, numbers and uint8 arrays; Python 2 ``str`` becomes ``str``.

    No code that the file names is imported or called. numpy's own unpickling is not used either: with a forged dtype,
    it would interpret bytes of the file as pointers to Python objects. Arrays are read-only.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file needs another type (the message names it), is truncated, or is no pickle.
    """
    try:
        return read_pickle(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f'cannot read {path} as a pickle: {error}') from error


def read_pickle(content: bytes) -> Any:
    """Read a pickle as :func:`load_pickle` does, from memory; ValueError if that is not possible."""
    try:
        return _resolved(_Unpickler(io.BytesIO(content), encoding='latin1').load())
    # For bytes that are no pickle, the unpickler raises nearly anything, from KeyError to MemoryError.
    except Exception as error:
        raise ValueError(f'{type(error).__name__}: {error}') from error


class _Array:
    """Placeholder for an array while its pickle is read."""

    values: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, is_fortran, raw = state
        if not isinstance(dtype, _Uint8):
            raise pickle.UnpicklingError(f'array of dtype {dtype!r}; allowed is uint8')
        # Python 2 wrote the bytes as a string.
        raw = raw.encode('latin1') if isinstance(raw, str) else raw
        self.values = np.frombuffer(raw, np.uint8).reshape(shape, order='F' if is_fortran else 'C')


class _Uint8:
    """Placeholder for uint8, the only allowed dtype; other content of its pickle is ignored."""

    def __init__(self, code: Any, *_flags: Any) -> None:
        if code != 'u1':
            raise pickle.UnpicklingError(f"array of dtype {code!r}; allowed is 'u1' (uint8)")

    def __setstate__(self, state: Any) -> None:
        pass


def _new_array(*_arguments: Any) -> _Array:
    return _Array()


def to_bytes(text: str, encoding: str = '') -> bytes:
    """Stand-in for ``_codecs.encode``: protocol 2 has no bytes, so Python 3 writes text, which this converts back."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f"_codecs.encode with {encoding!r}; allowed is 'latin1'")
    return text.encode(encoding)


_STAND_INS: dict[tuple[str, str], Any] = {
    ('numpy.core.multiarray', '_reconstruct'): _new_array,
    ('numpy._core.multiarray', '_reconstruct'): _new_array,
    ('numpy', 'ndarray'): _Array,
    ('numpy', 'dtype'): _Uint8,
    ('_codecs', 'encode'): to_bytes,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            allowed = ', '.join('.'.join(key) for key in _STAND_INS)
            raise pickle.UnpicklingError(f'refused global {module}.{name}; allowed are {allowed}')
        return _STAND_INS[module, name]


def _resolved(value: Any) -> Any:
    """Replace the placeholders by their arrays."""
    if isinstance(value, _Array):
        if value.values is None:
            raise pickle.UnpicklingError('array without content')
        return value.values
    if isinstance(value, dict):
        return {key: _resolved(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_resolved, value))
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    raise pickle.UnpicklingError(f'refused object {value!r}')

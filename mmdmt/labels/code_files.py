"""Confidence codes of an image as bytes: predicted from neighbors, then compressed without loss.

Networks predict at an eighth or a quarter of an image's size, so the log-odds of its pixels form smooth slopes. The
difference of each code from what its neighbors let expect is small, and its upper byte mostly 0.
"""

from typing import TypeAlias

import numpy as np
import zstandard
from numpy.typing import NDArray

from mmdmt.errors import DamagedFileError

BLOCK = 32
"""Rows, and columns, after which the prediction starts anew: all blocks are summed side by side, not pixel by pixel."""

Codes: TypeAlias = NDArray[np.uint16]


def pack(code: Codes) -> bytes:
    """Compress codes, uint16 [H, W]; :func:`unpack` needs their shape.

    Example:
        >>> slope = np.arange(40000, dtype=np.uint16).reshape(200, 200)
        >>> content = pack(slope)
        >>> len(content) < slope.nbytes / 20, bool((unpack(content, (200, 200)) == slope).all())
        (True, True)
    """
    rest = _differences(_differences(code).T)
    signed = rest.view(np.int16)
    folded = ((signed << 1) ^ (signed >> 15)).view(np.uint8)  # 0, -1, 1, -2, ... -> 0, 1, 2, 3, ...
    return zstandard.ZstdCompressor(level=1).compress(np.concatenate([folded[:, ::2].ravel(), folded[:, 1::2].ravel()]))


def unpack(content: bytes, shape: tuple[int, ...]) -> Codes:
    """Read what :func:`pack` made of codes uint16 of a shape [H, W].

    Raises:
        DamagedFileError: if the content is not that of codes of this shape.
    """
    size = 2 * shape[0] * shape[1]
    try:
        if zstandard.frame_content_size(content) != size:  # a forged size would take any amount of memory
            raise ValueError('their number differs')
        folded = np.frombuffer(zstandard.ZstdDecompressor().decompress(content, max_output_size=size), np.uint8)
        low, high = folded.reshape(2, shape[1], shape[0])
    except (zstandard.ZstdError, ValueError) as error:
        raise DamagedFileError(f'no confidence codes of {shape[0]} x {shape[1]} pixels: {error}') from error
    rest = high.astype(np.uint16)
    rest <<= 8
    rest |= low
    rest = (rest >> 1) ^ -(rest & 1)
    return _add_up(np.ascontiguousarray(_add_up(rest).T))


def _differences(code: Codes) -> Codes:
    """Each row less the one above it, but the first row of each block."""
    rest = np.array(code, order='C')
    rest[1:] -= code[:-1]
    rest[::BLOCK] = code[::BLOCK]
    return rest


def _add_up(rest: Codes) -> Codes:
    """The inverse of :func:`_differences`, in place."""
    for row in range(1, min(BLOCK, len(rest))):
        rows = rest[row::BLOCK]
        rows += rest[row - 1 :: BLOCK][: len(rows)]
    return rest

import numpy as np
import pytest
import zstandard

from mmdmt.errors import DamagedFileError
from mmdmt.labels import code_files
from mmdmt.labels.code_files import BLOCK, pack, unpack

SHAPES = [(1, 1), (1, 70), (70, 1), (BLOCK, BLOCK), (BLOCK - 1, BLOCK + 1), (2 * BLOCK + 1, 3 * BLOCK), (0, 5)]


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('highest', [1, 65535])
def test_every_code_comes_back(shape, highest):
    code = np.random.default_rng(0).integers(0, highest, shape, np.uint16, endpoint=True)
    before = code.copy()
    found = unpack(pack(code), shape)
    assert (found.dtype, found.shape) == (np.uint16, shape)
    np.testing.assert_array_equal(found, before)
    np.testing.assert_array_equal(code, before)  # left as it was
    found += 1  # and a copy of its own


@pytest.mark.parametrize('view', [lambda code: code.T, lambda code: code[::2, ::-1], np.asfortranarray])
def test_codes_of_any_layout(view):
    code = view(np.random.default_rng(0).integers(0, 65536, (40, 50), np.uint16))
    np.testing.assert_array_equal(unpack(pack(code), code.shape), code)


def test_steps_of_any_size_come_back():
    code = np.array([[0, 65535, 0], [65535, 32768, 32767], [1, 0, 65535]], np.uint16)
    np.testing.assert_array_equal(unpack(pack(code), code.shape), code)


def test_what_is_stored_by_hand(monkeypatch):
    """Each row less the one above, then each column less the one before; 0, -1, 1, -2 as 0, 1, 2, 3; low bytes first.

    Blocks of two rows and columns begin with the codes themselves.
    """
    monkeypatch.setattr(code_files, 'BLOCK', 2)
    code = np.array([[10, 12, 500], [11, 15, 499], [7, 7, 7]], np.uint16)
    rows = [[10, 12, 500], [1, 3, -1], [7, 7, 7]]
    rest = [[10, 2, 500], [1, 2, -1], [7, 0, 7]]
    assert [[row[0], row[1] - row[0], row[2]] for row in rows] == rest
    folded = [2 * value if value >= 0 else -2 * value - 1 for column in zip(*rest, strict=True) for value in column]
    stored = zstandard.ZstdDecompressor().decompress(pack(code))
    assert list(stored) == [value % 256 for value in folded] + [value // 256 for value in folded]


def test_slopes_take_a_fraction_of_their_size():
    """As of a prediction that was enlarged eight times."""
    across, down = np.meshgrid(np.arange(500), np.arange(375))
    code = (20000 + 900 * np.sin(across / 40) * down).round().astype(np.uint16)
    assert len(pack(code)) < 0.6 * code.size


@pytest.mark.parametrize(
    ('content', 'shape'), [(b'', (2, 3)), (b'no codes', (2, 3)), (pack(np.ones((2, 3), np.uint16)), (2, 4)),
                           (pack(np.ones((2, 3), np.uint16)), (1, 1))]
)  # fmt: skip
def test_content_that_does_not_fit_is_damaged(content, shape):
    with pytest.raises(DamagedFileError, match=rf'^no confidence codes of {shape[0]} x {shape[1]} pixels: '):
        unpack(content, shape)

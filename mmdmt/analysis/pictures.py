"""Turns label maps, weights and images into small picture files."""

import colorsys
import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmdmt.core.ranking import IGNORED
from mmdmt.files import write_bytes

Color = tuple[int, int, int]
WHITE: Color = (255, 255, 255)
WIDTH = 240
"""Larger pictures are reduced to this width."""
_FIRST: tuple[Color, ...] = (
    (68, 68, 68), (0, 114, 178), (230, 159, 0), (0, 158, 115), (213, 94, 0), (204, 121, 167), (86, 180, 233),
    (240, 228, 66), (148, 103, 189), (140, 86, 75), (23, 190, 207), (188, 189, 34),
)  # fmt: skip


def palette_of(palette: Sequence[Sequence[int]] | None, number: int) -> list[Color]:
    """Colors of ``number`` classes: those of the data set, or else colors that are told apart easily.

    Colors of the data set that are missing, white (which marks ignored pixels) or the same as another are replaced.
    """
    given = [tuple(map(int, color[:3])) for color in palette or ()]
    colors: list[Color] = []
    for index in range(number):
        color = given[index] if index < len(given) else None
        if color is None or color == WHITE or color in colors:
            color = next(own for own in _distinct(index, number) if own not in colors)
        colors.append(color)  # type: ignore[arg-type]
    return colors


def _distinct(index: int, number: int) -> list[Color]:
    """Colors for a class, the best first."""
    hues = [((index + shift) * 0.618034) % 1 for shift in range(number + 256)]
    spread = [colorsys.hsv_to_rgb(hue, 0.75, 0.55 + 0.35 * (place % 2)) for place, hue in enumerate(hues, start=index)]
    return [*_FIRST[index : index + 1], *((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in spread)]


def class_picture(label: np.ndarray, colors: Sequence[Color]) -> bytes:
    """A class map, integer [H, W], as a palette PNG; ignored pixels (255) are white."""
    image = Image.fromarray(_reduced(label.astype(np.uint8), cv2.INTER_NEAREST))
    table: np.ndarray = np.full((256, 3), WHITE, dtype=np.uint8)
    table[: len(colors)] = colors
    image.putpalette(table.ravel().tolist())
    return _png(image)


def weight_picture(weight: np.ndarray, label: np.ndarray) -> bytes:
    """Weights in [0, 1], float [H, W], as a PNG from dark (0) to bright (1); ignored pixels are white."""
    levels = (np.clip(weight, 0, 1) * 254).round().astype(np.uint8)
    image = Image.fromarray(_reduced(np.where(label == IGNORED, np.uint8(255), levels), cv2.INTER_NEAREST))
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_VIRIDIS)[:, 0, ::-1].copy()
    table[255] = WHITE
    image.putpalette(table.ravel().tolist())
    return _png(image)


def photo(pixels: np.ndarray) -> bytes:
    """An image, uint8 [H, W, 3] in RGB or [H, W], as a JPEG; small ones as a PNG, which is exact."""
    image, data = Image.fromarray(_reduced(pixels, cv2.INTER_AREA)), io.BytesIO()
    if max(image.size) <= 64:
        return _png(image)
    image.save(data, format='JPEG', quality=80)
    return data.getvalue()


def overlay(pixels: np.ndarray, label: np.ndarray, colors: Sequence[Color], strength: float = 0.55) -> np.ndarray:
    """An image, uint8 [H, W, 3] in RGB, with a class map of its size laid over it; ignored pixels stay as they are."""
    table: np.ndarray = np.zeros((256, 3), dtype=np.float32)
    table[: len(colors)] = colors
    mixed = (1 - strength) * pixels + strength * table[label]
    return np.where((label < len(colors))[..., None], mixed, pixels).round().astype(np.uint8)


def media_type(content: bytes) -> str:
    """``image/png`` or ``image/jpeg``."""
    return 'image/png' if content[:4] == b'\x89PNG' else 'image/jpeg'


def store(folder: Path, name: str, content: bytes) -> None:
    """Write a picture as NAME.png or NAME.jpg."""
    suffix = media_type(content).removeprefix('image/').replace('jpeg', 'jpg')
    write_bytes(folder / f'{name}.{suffix}', content)


def stored(folder: Path, name: str) -> bytes | None:
    """Content of a picture that :func:`store` wrote; None if there is none."""
    for suffix in ('png', 'jpg'):
        path = folder / f'{name}.{suffix}'
        if path.is_file():
            return path.read_bytes()
    return None


def _reduced(pixels: np.ndarray, how: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    if width <= WIDTH:
        return pixels
    return cv2.resize(pixels, (WIDTH, max(1, round(height * WIDTH / width))), interpolation=how)


def _png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, format='PNG', optimize=True)
    return data.getvalue()

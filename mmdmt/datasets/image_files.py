"""Find images in folders and by their names in list files, whatever their suffix."""

import codecs
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine import fileio

from mmdmt.errors import MissingFileError, UserError

IMAGE_SUFFIXES = frozenset(
    {'.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp', '.gif', '.jp2', '.npy'}
)
# Formats of cameras and browsers that OpenCV does not read everywhere.
SIMILAR_SUFFIXES = frozenset({'.heic', '.heif', '.avif', '.jfif', '.jxl', '.dng', '.cr2', '.nef', '.arw'})
# With an encoding, what a text editor puts in front of the first line.
BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, 'utf-8-sig'), (codecs.BOM_UTF16_LE, 'utf-16'), (codecs.BOM_UTF16_BE, 'utf-16'))


def is_image(path: str | os.PathLike[str]) -> bool:
    """Whether a file is an image by its name; hidden files, which some systems leave behind, are not."""
    name = os.path.basename(path)
    return not name.startswith('.') and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def image_files(folder: Path) -> Iterator[Path]:
    """All images of a folder and its subfolders, behind links too, in order; hidden folders are skipped."""
    return (path for path in _below(folder, ()) if is_image(path))


def image_and_similar_files(folder: str) -> Iterator[str]:
    """Paths of all files of a folder and its subfolders that are images by their name, in whatever format."""
    for path in _below(Path(folder), ()):
        if is_image(path) or (path.suffix.lower() in SIMILAR_SUFFIXES and not path.name.startswith('.')):
            yield str(path)


def _below(folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
    above = (*above, os.path.realpath(folder))
    for path in sorted(folder.iterdir()):
        if not path.is_dir():
            yield path
        elif not path.name.startswith('.') and os.path.realpath(path) not in above:  # a link may lead upwards
            yield from _below(path, above)


def list_encoding(content: bytes) -> str:
    """Encoding of a list file, by its byte order mark; UTF-8 without one."""
    return next((encoding for mark, encoding in BYTE_ORDER_MARKS if content.startswith(mark)), 'utf-8')


def read_list(path: str) -> list[tuple[int, str]]:
    """Numbers and text of the lines of a list file that are not blank, without blanks around them.

    Raises:
        UserError: if it is not a text.
    """
    content = fileio.get(path)
    try:
        lines = content.decode(list_encoding(content)).splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f'list {path} is not a text in UTF-8 ({error})') from None
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def check_plain(path: str) -> None:
    """Refuse a list that a stock dataset, which takes every line as it is, would misread.

    Raises:
        UserError: naming the list, the line and the remedy.
    """
    content = fileio.get(path)
    if list_encoding(content) != 'utf-8':
        raise UserError(f'list {path} begins with a byte order mark; save it in UTF-8 without one')
    lines = dict(read_list(path))
    number = content.count(b'\n') + (not content.endswith(b'\n') and bool(content))
    blank = next((line for line in range(1, number + 1) if line not in lines), None)
    if lines and blank is not None:
        raise UserError(f'list {path}: line {blank} is empty; remove it')


class ImageFinder:
    """Find images by the names in a list.

    A name is that of a file below one of the folders, with or without its suffix, or an absolute path.

    Args:
        folders: Where to look, the first one first.
        kind: What the images are, for messages: ``image`` or ``mask``.
    """

    def __init__(self, folders: Sequence[str], kind: str = 'image') -> None:
        self.folders = list(dict.fromkeys(folders))
        self.kind, self._option = kind, {'image': 'img_suffix', 'mask': 'seg_map_suffix'}[kind]
        self._by_stem: dict[str, dict[str, list[str]]] = {}

    def find(self, name: str) -> str | None:
        """Path of an image, None if there is none.

        Raises:
            UserError: if images of several suffixes have this name.
        """
        for folder in self.folders:
            path = os.path.join(folder, name)  # `name` itself if it is absolute
            if os.path.isfile(path):
                return path
            parent, stem = os.path.split(path)
            if parent not in self._by_stem:
                self._by_stem[parent] = _by_stem(parent)
            found = self._by_stem[parent].get(stem, ())
            if len(found) > 1:
                raise UserError(
                    f'several {self.kind}s are called {path}: {", ".join(found)}; list them with their suffix, or set '
                    f'{self._option}'
                )
            if found:
                return os.path.join(parent, found[0])
        return None


def _by_stem(folder: str) -> dict[str, list[str]]:
    """File names of the images of a folder, by their stem."""
    found: dict[str, list[str]] = {}
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if is_image(name):
            found.setdefault(os.path.splitext(name)[0], []).append(name)
    return found


def broken_link(path: str | os.PathLike[str]) -> str:
    """For a message about a missing file: the link on the way to it that leads to nothing, if there is one."""
    # Unlike the methods of Path, these functions raise nothing.
    found = (str(place) for place in (Path(path), *Path(path).parents) if os.path.islink(place))
    link = next((place for place in found if not os.path.exists(place)), None)
    if link is None:
        return ''
    seen = {link}
    while os.path.islink(target := os.path.join(os.path.dirname(link), os.readlink(link))) and target not in seen:
        seen.add(link := target)
    return f': {link} is a link to {os.readlink(link)}, which does not exist'


def missing_image(path: str, key: str) -> MissingFileError:
    """The error for an image that a list names and that does not exist, with the likely reason."""
    stem, suffix = os.path.splitext(path)
    hint = broken_link(path)
    if hint:
        pass
    elif path != path.rstrip():
        hint = f': the list names it {os.path.basename(path)!r}, with a blank at the end'
    elif is_image(stem) and suffix.lower() in IMAGE_SUFFIXES:
        hint = f': the list names it with a suffix, to which img_suffix={suffix!r} is added; list names without suffix'
    elif len(os.path.basename(stem).split()) > 1 or '\t' in path:
        hint = ': a line of the list must hold one name only'
    elif os.path.isdir(os.path.dirname(path)):
        others = _by_stem(os.path.dirname(path)).get(os.path.basename(stem), ())
        if others:
            hint = f', but {others[0]} does: set img_suffix, or use ImageMaskDataset, which finds images of any suffix'
    return MissingFileError(f'{key}: image {path} does not exist{hint}')

"""Read all images of a data set once: in parallel, with a progress bar, and not again when a run is resumed."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from mmdmt.files import write_text
from mmdmt.processors import processors

WORKERS = min(16, processors())
BAR_FROM = 100


class CheckedFiles:
    """Checks images, and remembers what was found.

    A file counts as checked while its path, its size, the time of its last change and the way it is checked stay the
    same.

    Args:
        path: File with what earlier runs found; None or a damaged one remembers nothing.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path, self._known = path, _read(path)
        self._found: dict[str, Any] = {}
        self._checked: dict[str, dict[str, bool]] = {}  # config key -> image -> whether it was known

    def check(self, infos: Sequence[dict], check: Callable[[dict], Any], way: str, key: str) -> list[Any]:
        """Check images in parallel.

        Args:
            infos: Data infos of the images, with ``img_path`` and perhaps ``seg_map_path``.
            check: Checks one of them; its result can be stored as JSON. It raises what is wrong.
            way: What else the result depends on.
            key: Config key of the data set, for the progress bar.

        Returns:
            The result of each image. The first error, in the order of the images, is raised.
        """

        images = self._checked.setdefault(key, {})

        def look_up(info: dict) -> Any:
            mark = _mark(info, way)
            if mark is None:
                return check(info)
            images[info['img_path']] = mark in self._known and images.get(info['img_path'], True)
            for known in (self._known, self._found):
                if mark in known:
                    break
            else:
                known = {mark: check(info)}
            self._found[mark] = known[mark]
            return known[mark]

        with ThreadPoolExecutor(WORKERS) as pool:
            return list(_with_bar(pool.map(look_up, infos), len(infos), key))

    @property
    def changed(self) -> dict[str, list[str]]:
        """Config key of each data set that is known in part -> its other images, which, or whose masks, differ."""
        found = {key: sorted(path for path in images if not images[path]) for key, images in self._checked.items()}
        # A set that has moved is new as a whole.
        return {key: new for key, new in found.items() if 0 < len(new) < len(self._checked[key])}

    def save(self) -> None:
        """Write what was found, for the next run."""
        if self._path is not None and self._found != self._known:
            write_text(self._path, json.dumps(self._found))


def describe(transforms: Sequence[Any]) -> str:
    """The types and settings of transforms."""
    return repr([(type(transform).__qualname__, sorted(vars(transform).items(), key=str)) for transform in transforms])


def _read(path: Path | None) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text()) if path is not None else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _mark(info: dict, way: str) -> str | None:
    """What identifies the files of an image and the way they are checked; None if they are no local files."""
    parts = [way]
    for name in ('img_path', 'seg_map_path'):
        path = info.get(name)
        if path is None:
            continue
        try:
            state = os.stat(path)
        except (OSError, ValueError):
            return None
        parts += [os.path.abspath(path), str(state.st_size), str(state.st_mtime_ns)]
    parts += [str(info.get('label_map')), str(info.get('reduce_zero_label'))]
    return hashlib.blake2b('\n'.join(parts).encode(), digest_size=16).hexdigest()


def _with_bar(results: Iterator[Any], total: int, key: str) -> Iterator[Any]:
    """Show how many images are checked, on a terminal and if it takes a while."""
    console = Console(stderr=True)
    if total < BAR_FROM or not console.is_terminal:
        return results
    return iter(track(results, f'Checking {total} images of {key}', total, console=console, transient=True))

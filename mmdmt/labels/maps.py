"""Pseudo labels of pixels on disk."""

import io
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mmdmt.core.ranking import ClassHistogram
from mmdmt.errors import DamagedFileError, UserError
from mmdmt.files import atomic, read_json, write_bytes
from mmdmt.labels.archives import ArchiveWriter, archive_path, read_file
from mmdmt.labels.code_files import pack, unpack
from mmdmt.labels.map_index import Entry, SortedFile, Sum, line, read_entries, sizes_and_times
from mmdmt.labels.selected_pixels import SelectedPixels
from mmdmt.labels.store import LabelStore

FORMAT = 2
"""Version of the files, in ``labels.json`` and ``histogram.npz``. Without it, codes end at log-odds of 26."""

ARCHIVES = 'archives'
FLUSHED = 120 * 10**9
"""Nanoseconds after which a written file is taken to be on the disk; Linux writes it after 30 to 35 seconds."""
BYTES_PER_PIXEL = 3  # upper bound: class map (1 byte before compression) and confidence code (2 bytes)


class LabelMaps(LabelStore):
    """Label store of segmentation.

    ``labels/NAME.png`` holds the class map, 8-bit palette PNG, uint8 [H, W]. ``confidence/NAME.zst`` holds the
    confidence codes (see :mod:`mmdmt.core.confidence`), uint16 [H, W], compressed by
    :mod:`mmdmt.labels.code_files`. ``histogram.npz`` counts the codes by class.
    ``checksums.csv`` lists each image with size and CRC-32 of both files; until the store is complete, the parts do.
    For very many images, both files of an image may lie in archives instead, ``archives/NUMBER.tar``
    (:mod:`mmdmt.labels.archives`); their places are in the list.

    Args:
        root: The folder. The first write creates it.
        palette: RGB colors of the classes, used for the PNGs only; gray by default.
        archives: Write into archives, not two files an image. Reading finds both.
    """

    summed = ('histogram.npz', 'checksums.csv')

    def __init__(
        self, root: str | os.PathLike, palette: Sequence[Sequence[int]] | None = None, archives: bool = False
    ) -> None:
        super().__init__(root)
        self._archives = ArchiveWriter(self.root / ARCHIVES) if archives else None
        # Always a palette, of 256 colors: with fewer, Pillow stores fewer bits per pixel and cuts off the higher
        # classes; gray images are filtered, and take half as long again to read.
        gray = [(value, value, value) for value in range(256)]
        colours = [channel for colour in palette or gray for channel in colour][: 3 * 256]
        self._palette = colours + [0] * (3 * 256 - len(colours))

    def label_path(self, name: str) -> Path:
        """Path of the class map of image ``name``."""
        return self.root / 'labels' / f'{name}.png'

    def confidence_path(self, name: str) -> Path:
        """Path of the confidence codes of image ``name``."""
        return self.root / 'confidence' / f'{name}.zst'

    def names(self) -> set[str]:
        """Names of the images labeled so far; one with a file of another size than written does not count."""
        return {name for name, found in self._found(read_entries(self._lists())).items() if found is not None}

    def write(self, name: str, label: np.ndarray, code: np.ndarray) -> None:
        """Store one image: ``label`` uint8 [H, W] and ``code`` uint16 [H, W].

        Its line in the part is written last, so an image with a line is complete.
        """
        image, codes, png = Image.fromarray(label), pack(code), io.BytesIO()
        image.putpalette(self._palette)
        # Read in half the time of runs alone (Z_RLE), with about as many bytes; higher levels take long to write.
        image.save(png, format='PNG', compress_level=3)
        places = None
        if self._archives is None:
            # What a power failure takes is missed by its checksum, and labeled anew.
            write_bytes(self.confidence_path(name), codes, sync=False)
            write_bytes(self.label_path(name), png.getvalue(), sync=False)
        else:
            files = {f'labels/{name}.png': png.getvalue(), f'confidence/{name}.zst': codes}
            places = self._archives.write(files)
        self._append(line(name, Entry(Sum.of(png.getvalue()), Sum.of(codes), places)))
        self._forget_index()

    def close(self) -> None:
        """Complete the archive of this process, if it has one."""
        if self._archives is not None:
            self._archives.close()

    def read(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Read class map uint8 [H, W] and confidence codes uint16 [H, W] of one image.

        Raises:
            FileNotFoundError: if the image is not in the store; the message names the file.
            DamagedFileError: if a file is not as it was written. It is deleted, so that the image is labeled anew.
        """
        entry = self._entry(name)
        png, codes = self._content(name, entry)
        if entry is None or (Sum.of(png), Sum.of(codes)) != (entry.label, entry.code):
            place = self.place(name)
            self._drop([name], {name: entry})
            self._index[0][name] = None
            raise DamagedFileError(f'{place}, or its confidence, is not as it was written; --resume makes it anew')
        with Image.open(io.BytesIO(png)) as image:
            label = np.asarray(image)
        return label, unpack(codes, label.shape)

    def _content(self, name: str, entry: Entry | None) -> tuple[bytes, bytes]:
        if entry is None or entry.places is None:
            return self.label_path(name).read_bytes(), self.confidence_path(name).read_bytes()
        places = zip(entry.places, (entry.label, entry.code), strict=True)
        label, code = (read_file(self.root / ARCHIVES, place, own.size) for place, own in places)
        return label, code

    def forget(self, names: Collection[str]) -> None:
        """Delete the labels of some images; those in archives stay there, but do not count."""
        self._drop(names, read_entries(self._lists()))
        self._forget_index()

    def _drop(self, names: Collection[str], entries: Mapping[str, Entry | None]) -> None:
        packed = [name for name in names if (entry := entries.get(name)) is not None and entry.places is not None]
        if packed:
            self._append(''.join(line(name, None) for name in packed))
        for name in names:
            self.label_path(name).unlink(missing_ok=True)

    def place(self, name: str) -> str:
        """Where the class map of image ``name`` lies, for messages."""
        entry = self._entry(name)
        if entry is None or entry.places is None:
            return str(self.label_path(name))
        return f'{archive_path(self.root / ARCHIVES, entry.places[0].archive)}: labels/{name}.png'

    def lost(self) -> set[str]:
        """Names of the images with a file that is missing or not as it was written.

        Of files with the right size, only the last ones are read: those that a power failure may have taken.
        """
        entries = read_entries(self._lists())
        found = self._found(entries)
        last = max((written for written in found.values() if written is not None), default=0)
        return set(self._bad(entries, found, last - FLUSHED))

    def _bad(self, entries: Mapping[str, Entry | None], found: Mapping[str, int | None], since: int) -> list[str]:
        """Images whose files are missing, of another size or, where they were written since, of another content."""
        return [
            name
            for name, written in found.items()
            if written is None or (written > since and not self._is_whole(name, entries[name]))
        ]

    def _is_whole(self, name: str, entry: Entry | None) -> bool:
        try:
            label, code = self._content(name, entry)
        except OSError:
            return False
        return entry is not None and (Sum.of(label), Sum.of(code)) == (entry.label, entry.code)

    def _found(self, entries: Mapping[str, Entry | None]) -> dict[str, int | None]:
        """Name -> when the newer of its two files was written; None if one is missing, dropped or of another size."""
        labels, codes, archives = (sizes_and_times(self.root / folder) for folder in ('labels', 'confidence', ARCHIVES))
        result: dict[str, int | None] = {}
        for name, entry in entries.items():
            if entry is None:
                result[name] = None
                continue
            if entry.places is None:
                label, code = labels.get(f'{name}.png', (-1, 0)), codes.get(f'{name}.zst', (-1, 0))
                whole = (label[0], code[0]) == (entry.label.size, entry.code.size)
            else:
                label = code = archives.get(archive_path(self.root, entry.places[0].archive).name, (-1, 0))
                ends = zip(entry.places, (entry.label, entry.code), strict=True)
                whole = code[0] >= max(place.offset + own.size for place, own in ends)
            result[name] = max(label[1], code[1]) if whole else None
        return result

    def _lists(self) -> list[Path]:
        own = self.root / 'checksums.csv'
        return [*([own] if own.is_file() else []), *self.parts()]

    def _entry(self, name: str) -> Entry | None:
        late, early = self._index
        if name in late or early is None:
            return late.get(name)
        return early.get(name)

    @cached_property
    def _index(self) -> tuple[dict[str, Entry | None], SortedFile | None]:
        """What the parts say, and where else to look."""
        own = self.root / 'checksums.csv'
        return read_entries(self.parts()), SortedFile(own) if own.is_file() else None

    def _forget_index(self) -> None:
        self.__dict__.pop('_index', None)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != '_index'}

    def info(self) -> dict[str, Any]:
        """Read ``labels.json``, see :meth:`LabelStore.info`; refuse labels of an earlier version."""
        info = super().info()
        _check_format(self.root / 'labels.json', info.get('format'))
        return info

    def _damage(self) -> str | None:
        info = read_json(self.root / 'labels.json') or {}
        if 'files' in info and info.get('format') != FORMAT:
            self.discard()
            return 'labels.json, of an earlier version of mmdmt,'
        damage = super()._damage()
        if damage is not None:
            return damage
        since = (self.root / 'labels.json').stat().st_mtime_ns
        # Reading all of them takes long. Those are read that a power failure may have taken, or changed since.
        entries = read_entries(self._lists())
        bad = self._bad(entries, self._found(entries), since - FLUSHED)
        if not bad:
            return None
        place = self.place(bad[0])
        self.forget(bad)
        return f'{Path(place).relative_to(self.root)} or its confidence'

    def histogram(self) -> ClassHistogram:
        """Read the counts of confidence codes by predicted class.

        Raises:
            DamagedFileError: if an earlier version wrote them, with other codes.
        """
        with np.load(self.root / 'histogram.npz') as data:
            _check_format(self.root / 'histogram.npz', int(data['format']) if 'format' in data else None)
            histogram = ClassHistogram(int(data['num_classes']))
            histogram.counts.view(-1)[torch.from_numpy(data['index']).long()] = torch.from_numpy(data['count'])
        return histogram

    def finish(self, histogram: ClassHistogram, **info: Any) -> None:  # type: ignore[override]
        """Mark the store complete; ``info`` goes into ``labels.json``."""
        flat = histogram.counts.numpy().ravel()
        index = np.flatnonzero(flat)  # few codes occur
        number = np.int64(histogram.num_classes)
        with atomic(self.root / 'histogram.npz') as file:
            np.savez_compressed(
                file, index=index.astype(np.int32), count=flat[index], num_classes=number, format=np.int64(FORMAT)
            )
        whole = self.names()
        lines = sorted(line(*row).encode() for row in read_entries(self._lists()).items() if row[0] in whole)
        write_bytes(self.root / 'checksums.csv', b''.join(lines))
        self._forget_index()
        super().finish(format=FORMAT, num_classes=histogram.num_classes, **info)

    def select(self, names: Sequence[str], ratio: float, ranking: str = 'class') -> SelectedPixels:
        """Select all images, and of each class the pixels that a ratio keeps.

        Raises:
            ValueError: if the ranking is not ``class``.
        """
        if ranking != 'class':
            raise UserError(f"ranking={ranking!r}: pixels are ranked by 'class' only")
        return SelectedPixels(self, len(names), self.histogram().thresholds(ratio))

    def discard(self) -> None:
        """Delete the labels of all images, but keep the histogram and ``labels.json``."""
        (self.root / 'checksums.csv').unlink(missing_ok=True)
        self._forget_index()
        for folder in ('labels', 'confidence', ARCHIVES):
            shutil.rmtree(self.root / folder, ignore_errors=True)


def _check_format(path: Path, found: int | None) -> None:
    if found != FORMAT:
        raise DamagedFileError(f'{path}: labels of an earlier version of mmdmt, which ranked them otherwise; run their '
                               'label phase again')  # fmt: skip

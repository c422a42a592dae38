"""Measure what lists of images and stores of pseudo labels cost for many images.

    python tests/simulate_store.py FOLDER [--images 1000000]

FOLDER gets a label table, and label maps of few pixels in archives, two KiB an image.
Prints a table: CPU seconds, the memory that a step adds at its peak, and files and bytes that it leaves. Linux only.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a clone, installed or not

from mmengine.dataset import BaseDataset

from mmdmt.core.ranking import ClassHistogram
from mmdmt.datasets.unlabeled import PseudoLabelDataset, UnlabeledDataset
from mmdmt.engine.report import markdown_table
from mmdmt.labels.maps import LabelMaps
from mmdmt.labels.table import LabelRow, LabelTable

BATCH = 64
READ = 10_000  # images read in random order
CLASSES = 20


class ListedImages(BaseDataset):
    """As many images as it is asked for; none exists."""

    def load_data_list(self) -> list[dict]:
        """Paths and classes of the images, as those of mmsegmentation and mmpretrain look."""
        return [
            dict(img_path=f'data/train/{index % 1000:04d}/{index:09d}.jpg', gt_label=index % CLASSES)
            for index in range(self.metainfo['images'])
        ]


class Costs:
    """The rows of the table."""

    def __init__(self) -> None:
        self.rows: list[list[str]] = []

    @contextmanager
    def measured(self, step: str, folder: Path | None = None) -> Iterator[None]:
        """Add a row for what a block does."""
        Path('/proc/self/clear_refs').write_text('5')  # the peak begins again
        before, start = memory('VmRSS'), time.process_time()
        yield
        seconds, added = time.process_time() - start, max(0, memory('VmHWM') - before)
        files = sum(len(names) for _, _, names in os.walk(folder)) if folder else 0
        self.rows.append([step, f'{seconds:.1f}', f'{added / 1024:,.0f}', f'{files:,}'])
        print(' | '.join(self.rows[-1]), file=sys.stderr, flush=True)


def memory(key: str) -> int:
    """KiB of this process: VmRSS now, VmHWM at its peak."""
    line = next(line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith(key))
    return int(line.split()[1])


def simulate(folder: Path, images: int) -> list[list[str]]:
    """Rows: step, CPU seconds, MiB added, files left."""
    costs = Costs()
    with costs.measured('list of images'):
        dataset = UnlabeledDataset(ListedImages(metainfo=dict(images=images)), [])
    with costs.measured('their names in a store'):
        names = [dataset.name(index) for index in range(len(dataset))]
    use_table(costs, folder / 'table', names, dataset)
    use_maps(costs, folder / 'maps', names, dataset)
    return costs.rows


def use_table(costs: Costs, folder: Path, names: Sequence[str], dataset: UnlabeledDataset) -> None:
    """Write, resume, complete, check and read a label table."""
    rng = np.random.default_rng(0)
    odds, labels = rng.normal(3, 2, len(names)), rng.integers(0, CLASSES, len(names))
    with costs.measured(f'table: write, {BATCH} images at a time', folder):
        store = LabelTable(folder)
        for start in range(0, len(names), BATCH):
            part = slice(start, start + BATCH)
            store.append([LabelRow(*row) for row in zip(names[part], labels[part], odds[part], strict=True)])
    finish(costs, 'table', lambda: LabelTable(folder), lambda store: store.finish(num_classes=CLASSES), dataset)


def use_maps(costs: Costs, folder: Path, names: Sequence[str], dataset: UnlabeledDataset) -> None:
    """Write, resume, complete, check and read label maps in archives."""
    histogram = ClassHistogram(CLASSES)
    histogram.counts[:, 0] = len(names)
    label, code = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint16)
    with costs.measured('archives: write', folder):
        store = LabelMaps(folder, archives=True)
        for name in names:
            store.write(name, label, code)
        store.close()
    finish(costs, 'archives', lambda: LabelMaps(folder), lambda store: store.finish(histogram), dataset)
    order = np.random.default_rng(0).permutation(len(names))[:READ]
    with costs.measured(f'archives: read {len(order):,} images in random order'):
        store = LabelMaps(folder)
        for index in order:
            store.read(names[index])


def finish(costs: Costs, kind: str, opened: Callable, complete: Callable, dataset: UnlabeledDataset) -> None:
    """What a run does with a store: resume with it, complete it, look for damage, train with it."""
    with costs.measured(f'{kind}: resume (which images are labeled)'):
        found = opened().names()
    if len(found) != len(dataset):
        raise RuntimeError(f'{kind}: {len(found)} of {len(dataset)} images are stored')
    del found
    store = opened()
    with costs.measured(f'{kind}: complete', store.root):
        complete(store)
    with costs.measured(f'{kind}: look for damage'):
        if opened().repair() is not None:
            raise RuntimeError(f'{kind}: damaged')
    with costs.measured(f'{kind}: begin to train'):
        PseudoLabelDataset(dataset.dataset, [], str(store.root), label_ratio=0.5)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--images', type=int, default=1_000_000)
    args = parser.parse_args()
    rows = simulate(args.folder, args.images)
    print(markdown_table([f'{args.images:,} images', 'CPU seconds', 'MiB added', 'files'], rows))


if __name__ == '__main__':
    main()

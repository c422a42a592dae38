"""Write lists of labeled and unlabeled images: the paper's for VOC and Cityscapes, or lists of your own images."""

import argparse
import hashlib
import random
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a clone, installed or not

from mmdmt.command_line import add_debug_argument, run_tool
from mmdmt.core.splits import difference_maximised_sampling, nested_split
from mmdmt.errors import MissingFileError, UserError
from mmdmt.files import atomic

# Name of a list -> divisor of nested_split; 1 is the whole set in shuffled order.
RATIOS = {
    'voc': {'106': 105.82, '50': 50, '20': 20, '8': 8, '4': 4, '2': 2, '1': 1},
    'cityscapes': {'30': 29.75, '8': 8, '4': 4, '1': 1},
}
TOTAL = {'voc': 10582, 'cityscapes': 2975}
TOTAL_VAL = {'voc': 1449, 'cityscapes': 500}
# The paper's small validation sets for choosing checkpoints, as indices into the sorted validation set.
VALTINY = {
    'voc': (0, 4, 5, 10, 12, 26, 34, 64, 197, 222, 312, 332, 508, 530, 532, 609, 1029, 1074, 1138, 1434),
    'cityscapes': (0, 6, 29, 38, 44, 52, 58, 60, 66, 116, 123, 201, 228, 272, 281, 374, 381, 471, 476),
}
SPLIT_IDS = (0, 1, 2)
SUMS = Path(__file__).with_name('published_splits.sha256')
IMAGE_SUFFIXES = frozenset({'.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp'})
SEED = 7777


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', choices=['voc', 'cityscapes', 'files'], help='which lists')
    parser.add_argument(
        'folder', type=Path, help='VOC2012 or cityscapes folder as in the README, or any folder of images'
    )
    parser.add_argument('--out', type=Path, help='folder for the lists (default: FOLDER/splits)')
    group = parser.add_argument_group('files')
    group.add_argument(
        '--masks', type=Path, help='folder of masks, named like their images: images with a mask are labeled'
    )
    group.add_argument('--ratio', type=float, help='instead of --masks: label one random image in RATIO')
    group.add_argument('--split-id', type=int, default=0, help='which random choice (default: 0)')
    group.add_argument('--val', type=int, default=0, help='number of labeled images to move to val.txt (default: 0)')
    group.add_argument(
        '--difference-maximised',
        type=float,
        metavar='ALPHA',
        help='also write labeled_a.txt and labeled_b.txt, each with this share of the labeled images, as different as '
        'possible: for two models of one architecture (the paper: 0.8)',
    )
    add_debug_argument(parser)
    args = parser.parse_args(argv)
    if args.source != 'files' and args.difference_maximised is not None:
        parser.error('--difference-maximised needs `files`')
    if (args.source == 'files') != ((args.masks is None) != (args.ratio is None)):
        parser.error("`files` needs one of --masks and --ratio; the paper's lists allow neither")
    return args


def voc_names(folder: Path) -> list[str]:
    """Names of the training images of VOC 2012 with SBD, from their list or from their masks."""
    lists = folder / 'ImageSets/Segmentation'
    if (lists / 'trainaug.txt').is_file():
        return (lists / 'trainaug.txt').read_text().split()
    masks, val = folder / 'SegmentationClassAug', lists / 'val.txt'
    if not masks.is_dir() or not val.is_file():
        raise MissingFileError(
            f'{folder} needs ImageSets/Segmentation/trainaug.txt, or SegmentationClassAug and '
            'ImageSets/Segmentation/val.txt, to find the training images of VOC with SBD'
        )
    return sorted({path.stem for path in masks.glob('*.png')} - set(val.read_text().split()))


def voc_val_names(folder: Path) -> list[str]:
    """Names of VOC 2012's validation images; empty if their list does not exist."""
    path = folder / 'ImageSets/Segmentation/val.txt'
    return path.read_text().split() if path.is_file() else []


def cityscapes_names(folder: Path, subset: str = 'train') -> list[str]:
    """Names CITY/IMAGE of the training or validation images of Cityscapes."""
    images, suffix = folder / 'leftImg8bit' / subset, '_leftImg8bit.png'
    if not images.is_dir():
        raise MissingFileError(f'{images} does not exist: {folder} must contain leftImg8bit and gtFine')
    return [f'{path.parent.name}/{path.name.removesuffix(suffix)}' for path in sorted(images.glob(f'*/*{suffix}'))]


def published(source: str, names: Sequence[str], val: Sequence[str]) -> dict[str, list[str]]:
    """File name without suffix -> the paper's list; without ``valtiny`` if there are no validation images.

    Raises:
        ValueError: if the images are not the published ones; names the number found or the list that differs.
    """
    for what, found, total in (('training', names, TOTAL[source]), ('validation', val, TOTAL_VAL[source])):
        if len(found) != total and (found or what == 'training'):
            raise UserError(f'{source}: found {len(found)} {what} images, but the published lists have {total}')
    lists = {}
    if val:
        lists['valtiny'] = [sorted(val)[place] for place in VALTINY[source]]
    for file, ratio in RATIOS[source].items():
        for split_id in SPLIT_IDS:
            labeled, unlabeled = nested_split(names, ratio, split_id, SEED)
            lists[f'{file}_labeled_{split_id}'] = labeled
            if unlabeled:
                lists[f'{file}_unlabeled_{split_id}'] = unlabeled
    sums = set(SUMS.read_text().splitlines())
    wrong = [file for file, lines in lists.items() if f'{sha256(lines)}  {source}/{file}.txt' not in sums]
    if wrong:
        raise UserError(
            f'{source}: {len(wrong)} of {len(lists)} lists differ from the published ones (first: {wrong[0]}), but the '
            f'number of images ({len(names)}) is right: the images have other names, e.g. {min(names)!r}'
        )
    return lists


def own_lists(args: argparse.Namespace) -> dict[str, list[str]]:
    """Lists of a folder of images: names relative to it, without suffix.

    Raises:
        FileNotFoundError: if the folder does not exist.
        ValueError: if it has no images, two images of one name, no masks, masks without an image, or too few images for
            ``--val``, or if the share of ``--difference-maximised`` is not in (0, 1].
    """
    names = names_below(args.folder)
    if args.masks is None:
        labeled, unlabeled = nested_split(names, args.ratio, args.split_id, SEED)
    else:
        masks = set(names_below(args.masks))
        strange = sorted(masks.difference(names))
        if strange:
            raise UserError(f'{args.masks}: {len(strange)} masks have no image in {args.folder}, e.g. {strange[0]!r}')
        labeled, unlabeled = sorted(masks), sorted(set(names) - masks)
        random.Random(f'{SEED} {args.split_id}').shuffle(labeled)
    if not 0 <= args.val < len(labeled):
        raise UserError(f'--val {args.val} leaves none of the {len(labeled)} labeled images to train on')
    lists = {'labeled': labeled[args.val :], 'unlabeled': unlabeled, 'val': labeled[: args.val]}
    if args.difference_maximised is not None:
        parts = difference_maximised_sampling(lists['labeled'], args.difference_maximised)
        lists['labeled_a'], lists['labeled_b'] = parts
    return {name: lines for name, lines in lists.items() if lines}


def names_below(folder: Path) -> list[str]:
    """Paths of all images in a folder and its subfolders, relative to it, without suffix."""
    if not folder.is_dir():
        raise MissingFileError(f'{folder} is not a folder')
    paths = sorted(path for path in folder.rglob('*') if path.suffix.lower() in IMAGE_SUFFIXES)
    names = [path.relative_to(folder).with_suffix('').as_posix() for path in paths]
    if not names:
        raise UserError(f'{folder} holds no image ({", ".join(sorted(IMAGE_SUFFIXES))})')
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f'{folder} holds two images called {twice!r}: names without their suffix must be unique')
    return names


def content(lines: Sequence[str]) -> bytes:
    return ('\n'.join(lines) + '\n').encode()


def sha256(lines: Sequence[str]) -> str:
    return hashlib.sha256(content(lines)).hexdigest()


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.source == 'files':
        lists = own_lists(args)
    else:
        if args.source == 'voc':
            names, val = voc_names(args.folder), voc_val_names(args.folder)
        else:
            names = cityscapes_names(args.folder)
            val = cityscapes_names(args.folder, 'val') if (args.folder / 'leftImg8bit/val').is_dir() else []
        lists = published(args.source, names, val)
    out = args.out or args.folder / 'splits'
    for name, lines in lists.items():
        with atomic(out / f'{name}.txt') as file:
            file.write(content(lines))
        print(f'{out / name}.txt: {len(lines)} images')


if __name__ == '__main__':
    run_tool(main)

"""Write lists of labeled and unlabeled images: the paper's for VOC and Cityscapes, or lists of your own images."""

import argparse
import hashlib
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a clone, installed or not

from mmdmt.command_line import add_debug_argument, output_folder, run_tool, told_in_short


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', choices=['voc', 'cityscapes', 'files'], help='which lists')
    parser.add_argument(
        'folder', type=Path, help='VOC2012 or cityscapes folder as in docs/data.md, or any folder of images'
    )
    parser.add_argument('--out', type=output_folder, help='folder for the lists (default: FOLDER/splits)')
    group = parser.add_argument_group('files')
    group.add_argument(
        '--masks', type=Path, help='folder of masks, named like their images: images with a mask are labeled'
    )
    group.add_argument(
        '--mask-suffix',
        metavar='SUFFIX',
        help='what the mask of NAME.jpg has after NAME, e.g. _mask.png (default: any)',
    )
    group.add_argument('--ratio', type=float, help='instead of --masks: label one random image in RATIO')
    group.add_argument('--split-id', type=int, default=0, help='which random choice (default: 0)')
    group.add_argument(
        '--val',
        type=int,
        default=0,
        help='number of labeled images to move to val.txt, drawn by class if there are masks (default: 0)',
    )
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
    if args.val < 0:
        parser.error(f'--val must be a number of images, not {args.val}')
    if args.difference_maximised is not None and not 0 < args.difference_maximised <= 1:
        parser.error(f'--difference-maximised must be a share above 0, at most 1, not {args.difference_maximised}')
    if args.masks is not None and not args.mask_suffix and args.masks.resolve() == args.folder.resolve():
        parser.error('--masks is the folder of the images: --mask-suffix must tell what the names of masks end with')
    return args


if __name__ == '__main__':
    parse_args()  # --help and a wrong argument need none of the imports below

import numpy as np
from PIL import Image

with told_in_short():
    from mmdmt.core.splits import difference_maximised_sampling, nested_split, stratified_split
    from mmdmt.datasets.image_files import IMAGE_SUFFIXES, image_files, is_image
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
SEED = 7777
IGNORED = 255
TRAINAUG = 'ImageSets/Segmentation/trainaug.txt'


def voc_names(folder: Path) -> list[str]:
    """Names of the training images of VOC 2012 with SBD, from their list or from their masks."""
    lists = folder / 'ImageSets/Segmentation'
    if (folder / TRAINAUG).is_file():
        return (folder / TRAINAUG).read_text().split()
    masks, val = folder / 'SegmentationClassAug', lists / 'val.txt'
    if not masks.is_dir() or not val.is_file():
        raise MissingFileError(
            f'{folder} needs ImageSets/Segmentation/trainaug.txt, or SegmentationClassAug and '
            'ImageSets/Segmentation/val.txt, to find the training images of VOC with SBD'
        )
    # mmsegmentation's converter leaves SBD's masks only, beside those of VOC.
    paths = [*masks.glob('*.png'), *(folder / 'SegmentationClass').glob('*.png')]
    return sorted({path.stem for path in paths} - set(val.read_text().split()))


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
    images = files_by_name(args.folder, None, '' if args.masks is None else same_folder_suffix(args))
    names = list(images)
    print(found(args.folder, images.values(), 'images'))
    classes_of: Mapping[str, Collection[int]]
    if args.masks is None:
        labeled, unlabeled = nested_split(names, args.ratio, args.split_id, SEED)
        classes_of = dict.fromkeys(labeled, ())
    else:
        masks = files_by_name(args.masks, args.mask_suffix)
        strange = sorted(set(masks).difference(names))
        if strange:
            raise UserError(
                f'{args.masks}: {len(strange)} masks have no image in {args.folder}, e.g. {strange[0]!r}; masks may be '
                'called like their image, or like it with a --mask-suffix'
            )
        print(found(args.masks, masks.values(), 'masks'))
        classes_of = classes_shown(masks)
        unlabeled = sorted(set(names) - set(masks))
    if not 0 <= args.val < len(classes_of):
        raise UserError(f'--val {args.val} leaves none of the {len(classes_of)} labeled images to train on')
    left, val = stratified_split(classes_of, args.val, args.split_id, SEED)
    lists = {'labeled': left, 'unlabeled': unlabeled, 'val': val}
    if args.difference_maximised is not None:
        parts = difference_maximised_sampling(lists['labeled'], args.difference_maximised)
        lists['labeled_a'], lists['labeled_b'] = parts
    return {name: lines for name, lines in lists.items() if lines}


def same_folder_suffix(args: argparse.Namespace) -> str:
    """End of the names of files that are masks and no images, where both are in one folder."""
    same = args.mask_suffix and args.masks.resolve() == args.folder.resolve()
    return args.mask_suffix if same else ''


def files_by_name(folder: Path, suffix: str | None, without: str = '') -> dict[str, Path]:
    """Name -> image, for all images in a folder and its subfolders; names are relative to it, without suffix.

    Args:
        folder: Hidden files are skipped, links are followed.
        suffix: Take only files whose names end like this, and cut it off; None takes images of any suffix.
        without: Skip files whose names end like this.
    """
    if not folder.is_dir():
        raise MissingFileError(f'{folder} is not a folder')
    files: dict[str, Path] = {}
    for path in image_files(folder):
        name = path.relative_to(folder).as_posix()
        if not name.endswith(suffix or '') or (without and name.endswith(without)):
            continue
        name = name.removesuffix(suffix) if suffix else name.removesuffix(path.suffix)
        if name in files:
            raise UserError(
                f'{folder} holds two images called {name!r} ({files[name].name}, {path.name}): names without their '
                'suffix must be unique'
            )
        files[name] = path
    if not files:
        kinds = f'whose name ends with {suffix!r}' if suffix else f'({", ".join(sorted(IMAGE_SUFFIXES))})'
        raise UserError(f'{folder} holds no image {kinds}')
    return files


def found(folder: Path, paths: Collection[Path], what: str) -> str:
    """Sentence: how many files of which suffixes a folder holds, and which others are skipped."""
    suffixes = Counter(path.suffix for path in paths)
    shown = ', '.join(f'{number} {suffix}' for suffix, number in sorted(suffixes.items()))
    others = sorted(
        path.name for parent in {folder, *(path.parent for path in paths)} for path in parent.iterdir()
        if path.is_file() and not is_image(path)
    )  # fmt: skip
    skipped = f'; skipped {len(others)} other files ({", ".join(others[:3])})' if others else ''
    return f'{folder}: {len(paths)} {what} ({shown}){skipped}'


def classes_shown(masks: Mapping[str, Path]) -> dict[str, list[int]]:
    """Name -> classes that a mask shows; prints how many masks show each value, and what looks wrong."""
    with ThreadPoolExecutor() as pool:
        values = dict(zip(masks, pool.map(mask_values, masks.values()), strict=True))
    shown = Counter(value for own in values.values() for value in own or ())
    print('masks that show each value: ' + ', '.join(f'{value}: {shown[value]}' for value in sorted(shown)[:30]))
    colored = [str(masks[name]) for name, own in values.items() if own is None]
    if colored:
        print(f'warning: {len(colored)} masks cannot be read or have several channels, such as {colored[0]}')
    if set(shown) == {0, IGNORED}:
        print(f'warning: all values are 0 or {IGNORED}, which means ignored: store 1 instead of {IGNORED} for a class')
    elif shown and 0 not in shown:
        print('warning: no mask holds 0: if they count from 1, set reduce_zero_label=True in all data sets')
    suffixes = {path.name.removeprefix(Path(name).name) for name, path in masks.items()}
    if not all(suffix.lower() in IMAGE_SUFFIXES for suffix in suffixes):  # ImageMaskDataset finds these
        print(f'set seg_map_suffix in the config: the masks end with {" or ".join(sorted(suffixes))}')
    return {name: [value for value in own or () if value != IGNORED] for name, own in values.items()}


def mask_values(path: Path) -> list[int] | None:
    """The values of a mask; None if it has several channels or cannot be read."""
    try:
        with Image.open(path) as image:
            pixels = np.array(image)
    except (OSError, SyntaxError):
        return None
    return np.unique(pixels).astype(int).tolist() if pixels.ndim == 2 else None


def content(lines: Sequence[str]) -> bytes:
    return ('\n'.join(lines) + '\n').encode()


def sha256(lines: Sequence[str]) -> str:
    return hashlib.sha256(content(lines)).hexdigest()


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.source == 'files':
        try:
            lists = own_lists(args)
        except UserError:
            raise
        except ValueError as error:
            raise UserError(str(error)) from None
    else:
        if args.source == 'voc':
            names, val = voc_names(args.folder), voc_val_names(args.folder)
        else:
            names = cityscapes_names(args.folder)
            val = cityscapes_names(args.folder, 'val') if (args.folder / 'leftImg8bit/val').is_dir() else []
        lists = published(args.source, names, val)
        trainaug = args.folder / TRAINAUG
        if args.source == 'voc' and not trainaug.is_file():
            write_list(trainaug, names)
    out = args.out or args.folder / 'splits'
    for name, lines in lists.items():
        write_list(out / f'{name}.txt', lines)


def write_list(path: Path, lines: Sequence[str]) -> None:
    with atomic(path) as file:
        file.write(content(lines))
    print(f'{path}: {len(lines)} images')


if __name__ == '__main__':
    run_tool(main)

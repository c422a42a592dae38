"""Which family of published lists the labeled images of PASCAL VOC are of: a table must not mix families."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mmdmt.core.splits import nested_split
from mmdmt.datasets.image_files import read_list

TRAINING_IMAGES = 10582
"""Training images of VOC 2012 with SBD, labeled or not in all families."""
VOC_TRAIN = 1464
"""Of these, the images of VOC's own ``train.txt``."""
DMT = {100: 105.82, 211: 50.0, 530: 20.0, 1322: 8.0}
"""Labeled images -> ratio of the lists of the DMT paper, drawn from all training images."""
ORIGINAL = (92, 183, 366, 732, VOC_TRAIN)
"""Labeled images of the "original" lists, drawn from VOC's own ``train.txt``."""
BLENDED = (662, 1323, 2646, 5291)
"""Labeled images of the "blended" lists (CPS, U2PL), drawn from all training images."""
NAME = re.compile(r'\d{4}_\d{6}')


class ListFamily(NamedTuple):
    """``name``: ``DMT``, ``original``, ``blended``, or empty for other lists; ``text``: a sentence about the lists."""

    name: str
    text: str


def voc_family(labeled: Iterable[str], unlabeled: Iterable[str]) -> ListFamily | None:
    """Find the family of a labeled list by its length and by its images in VOC's own ``train.txt``.

    Args:
        labeled: Paths of the labeled images, in the layout of VOC; ``ImageSets`` beside their folder has ``train.txt``.
        unlabeled: Paths of the other training images.

    Returns:
        None if an image is not named as those of VOC.
    """
    paths = list(labeled)
    names, others = ({Path(path).stem for path in part} for part in (paths, unlabeled))
    if not names or not all(NAME.fullmatch(name) for name in names | others):
        return None
    number, total = len(names), len(names | others)
    if total != TRAINING_IMAGES:
        return ListFamily('', f'{number:,} of {total:,} images of VOC: published lists have {TRAINING_IMAGES:,}')
    train = _train_names(Path(paths[0]))
    fine = None if train is None else len(names & train)
    said = '' if fine is None else f', {fine:,} of them in its train.txt'
    family, detail = _family(names, names | others, fine)
    text = f'{number:,} of the {total:,} training images of VOC{said}: '
    if not family:
        return ListFamily('', f'{text}of no published family{detail}')
    return ListFamily(family, f'{text}family "{family}"{detail}')


def _family(names: set[str], all_names: set[str], fine: int | None) -> tuple[str, str]:
    """Family and what else is to say of it."""
    number = len(names)
    if number in ORIGINAL and fine in (None, number):
        detail = '; Table 5 of the DMT paper has the same' if number == VOC_TRAIN else ''
        return 'original', detail + ('' if fine is not None else ', by their number')
    if number in DMT:
        for split_id in range(3):
            if set(nested_split(sorted(all_names), DMT[number], split_id)[0]) == names:
                return 'DMT', f', published list {split_id}'
        return '', f', though the lists of DMT have {number:,}, too'
    if number in BLENDED:  # those of U2PL prefer images of VOC's own train.txt
        return 'blended', ' by their number; those of CPS and of U2PL differ'
    return '', ''


def _train_names(image: Path) -> set[str] | None:
    path = image.parent.parent / 'ImageSets/Segmentation/train.txt'
    return {line.split()[0] for _, line in read_list(str(path))} if path.is_file() else None

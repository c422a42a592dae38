"""Images in the folder of a data set that it does not read, or reads and should not, without a word."""

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

from mmdmt.datasets.building import dataset_leaves
from mmdmt.datasets.image_files import IMAGE_SUFFIXES, image_and_similar_files

SHOWN = 3


def doubts(dataset: Any) -> list[str]:
    """A line for each doubt about which images a dataset reads: :func:`left_out` and :func:`hidden`."""
    return [*left_out(dataset), *filter(None, [hidden(dataset)])]


def left_out(dataset: Any) -> list[str]:
    """A line for each folder of a dataset that holds images which the dataset leaves out.

    Only folders that are read whole are looked at; a list may choose. Hidden files and folders are no images.

    Args:
        dataset: A dataset or a concatenation; parts without ``data_prefix`` are skipped.
    """
    parts = list(dataset_leaves(dataset))
    read = {os.path.abspath(path) for part in parts for path in _paths(part)}  # parts may share a folder
    return [line for part in parts for line in _left_out(part, read)]


def hidden(dataset: Any) -> str | None:
    """A line about the images of a dataset that lie in hidden folders, or are hidden files; None if there are none.

    Stock datasets of class folders read them, too: notebooks and file managers keep copies there.
    """
    parts = (part for part in dataset_leaves(dataset) if not getattr(part, 'ann_file', None))  # a list may choose
    found = list(dict.fromkeys(str(path) for part in parts for path in _paths(part) if _is_hidden(path, _folder(part))))
    if not found:
        return None
    more = ', ...' if len(found) > SHOWN else ''
    return (
        f'{len(found)} of its images are in hidden folders or are hidden files, often copies of others: '
        f'{", ".join(found[:SHOWN])}{more}; delete them, or list the images'
    )


def _is_hidden(path: str, folder: str) -> bool:
    below = os.path.relpath(path, folder).split(os.sep) if folder else []
    return below[:1] != ['..'] and any(part.startswith('.') for part in below)


def _folder(dataset: Any) -> str:
    prefix = getattr(dataset, 'data_prefix', None)
    return (prefix.get('img_path') if isinstance(prefix, dict) else None) or getattr(dataset, 'data_root', None) or ''


def _paths(dataset: Any) -> Iterator[str]:
    infos = (dataset.get_data_info(idx) for idx in range(len(dataset)))
    return (info['img_path'] for info in infos if 'img_path' in info)


def _left_out(dataset: Any, read: set[str]) -> Iterator[str]:
    prefix = getattr(dataset, 'data_prefix', None)
    folder = prefix.get('img_path') if isinstance(prefix, dict) else None
    if getattr(dataset, 'ann_file', None) or not folder or not os.path.isdir(folder):
        return
    missed = [path for path in image_and_similar_files(folder) if os.path.abspath(path) not in read]
    if missed:
        number = Counter(_reason(path) for path in missed)
        reasons = ', '.join(f'{count} {reason}' for reason, count in number.most_common())
        more = ', ...' if len(missed) > SHOWN else ''
        yield f'{folder} holds {len(missed)} images that are not read ({reasons}): {", ".join(missed[:SHOWN])}{more}'


def _reason(path: str) -> str:
    if not os.path.exists(path):
        return 'broken links'
    suffix = os.path.splitext(path)[1]
    known = suffix.lower() in IMAGE_SUFFIXES
    return f'with the suffix {suffix}' + ('' if known else ', a format that must be converted')

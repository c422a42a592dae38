"""Images in the folder of a data set that it does not read: they would be missed without a word."""

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

from mmdmt.datasets.image_checks import concatenated
from mmdmt.datasets.image_files import IMAGE_SUFFIXES, image_and_similar_files

SHOWN = 3


def left_out(dataset: Any) -> list[str]:
    """A line for each folder of a dataset that holds images which the dataset leaves out.

    Only folders that are read whole are looked at; a list may choose. Hidden files and folders are no images.

    Args:
        dataset: A dataset or a concatenation; parts without ``data_prefix`` are skipped.
    """
    parts = concatenated(dataset)
    read = {os.path.abspath(path) for part in parts for path in _paths(part)}  # parts may share a folder
    return [line for part in parts for line in _left_out(part, read)]


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

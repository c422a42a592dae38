"""Finds the figure of an Oracle, a model that was trained on all labels."""

import math
from pathlib import Path

from mmdmt.analysis.run_record import logged
from mmdmt.errors import MissingFileError, UserError
from mmdmt.files import read_json


def oracle_figure(given: str, metric: str) -> float:
    """The metric of an Oracle in percent.

    Args:
        given: A number, a JSON file with metrics, or the work dir of an ordinary training run.
        metric: Name of the metric.

    Raises:
        UserError: if nothing of this is there, or if it does not know the metric.

    Example:
        >>> oracle_figure('68.16', 'mIoU')
        68.16
    """
    try:
        value = float(given)
    except ValueError:
        return _read(Path(given), metric)
    if not 0 <= value <= 100:
        raise UserError(f'--oracle {given}: must be in percent, from 0 to 100')
    return value


def _read(path: Path, metric: str) -> float:
    if path.is_dir():
        lines = [line for file in sorted(path.rglob('vis_data/*.json')) for line in logged(file)]
        found = [line[metric] for line in lines if metric in line][-1:]
    elif path.is_file():
        found = [(read_json(path) or {}).get(metric)]
    else:
        raise MissingFileError(f'--oracle {path}: is neither a number nor a file nor a folder')
    if not found or not isinstance(found[0], int | float) or math.isnan(found[0]):
        raise UserError(f'--oracle {path}: knows no {metric}')
    return float(found[0])

"""Figures that a run is compared with: of an Oracle, trained on all labels, and of controls, trained on labels only."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from mmdmt.analysis.run_record import logged
from mmdmt.errors import MissingFileError, UserError, listed
from mmdmt.files import read_json


class References(NamedTuple):
    """Metrics in percent, as far as they are known.

    ``oracle``: of a model that was trained on all labels. ``controls``: model -> of the same model after as many steps
    on the labeled images alone.
    """

    oracle: float | None = None
    controls: Mapping[str, float] = MappingProxyType({})


NO_REFERENCES = References()


def read_references(oracle: str | None, controls: Sequence[str], models: Sequence[str], metric: str) -> References:
    """Read what the options ``--oracle`` and ``--control`` name.

    Args:
        oracle: A figure, see :func:`figure`; or None.
        controls: ``MODEL=FIGURE`` each, or ``FIGURE`` for all models.
        models: Names of the models.
        metric: Name of the metric.

    Raises:
        UserError: if one of them is not there, or if it does not know the metric.
    """
    found: dict[str, float] = {}
    for given in controls:
        model, equals, value = given.partition('=')
        if equals and Path(given).exists():
            model, equals, value = '', '', ''
        if equals and model not in models:
            raise UserError(f'--control {given}: the run has no model {model}, but {listed(models)}')
        score = figure('--control', value if equals else given, metric)
        found.update({model: score} if equals else dict.fromkeys(models, score))
    return References(None if oracle is None else figure('--oracle', oracle, metric), found)


def figure(option: str, given: str, metric: str) -> float:
    """A metric in percent.

    Args:
        option: The option that names it, for messages.
        given: A number, a JSON file with metrics, or the work dir of an ordinary training run.
        metric: Name of the metric.

    Raises:
        UserError: if nothing of this is there, or if it does not know the metric.

    Example:
        >>> figure('--oracle', '68.16', 'mIoU')
        68.16
    """
    try:
        value = float(given)
    except ValueError:
        return _read(option, Path(given), metric)
    if not 0 <= value <= 100:
        raise UserError(f'{option} {given}: must be in percent, from 0 to 100')
    return value


def _read(option: str, path: Path, metric: str) -> float:
    records = [read_json(file) or {} for file in sorted(path.glob('*_train_*/phase.json'))]  # of a run of mmdmt
    if records:  # its validations do not tell which of them was chosen
        found = [(records[-1].get('metrics') or {}).get(metric)]
    elif path.is_dir():
        lines = [line for file in sorted(path.rglob('vis_data/*.json')) for line in logged(file)]
        found = [line[metric] for line in lines if metric in line][-1:]
    elif path.is_file():
        found = [(read_json(path) or {}).get(metric)]
    else:
        raise MissingFileError(f'{option} {path}: is neither a number nor a file nor a folder')
    if not found or not isinstance(found[0], int | float) or math.isnan(found[0]):
        raise UserError(f'{option} {path}: knows no {metric}')
    return float(found[0])

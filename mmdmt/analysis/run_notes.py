"""Writes what only the running process knows, so that a report can tell it later."""

import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from mmdmt.analysis.run_record import NOTES
from mmdmt.config_dicts import dicts_of_type
from mmdmt.engine.fidelity import published_behaviours
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.run_data import RunData
from mmdmt.files import read_json, write_json
from mmdmt.installation import installed_versions

PACKAGES = ('mmdmt', 'torch', 'torchvision', 'numpy')


def write_notes(plan: RunPlan, data: RunData, work_dir: Path, own: bool = True) -> None:
    """Write the notes of a run; what an earlier process has noted and this one does not know is kept.

    A process that does not execute the run (``own=False``) notes what belongs to the data only.

    They hold ``commands``, ``versions``, ``device``, ``seed``, ``behaviours``, ``metric``, ``classes``, ``palette``,
    ``class_counts`` (set of images -> numbers by class), ``images``, ``gammas`` (model -> those of its losses) and
    ``steps`` (phase -> optimizer steps).
    """
    before = read_json(work_dir / NOTES) or {}
    found = dict(
        **(_process(before.get('commands') or []) if own else {}),
        seed=(plan.cfg.get('randomness') or {}).get('seed') or 0,
        behaviours=published_behaviours(plan),
        metric=plan.settings.metric,
        select=plan.settings.select,
        task=plan.task.store,
        images={
            model: dict(labeled=own.num_labeled, unlabeled=own.num_unlabeled) for model, own in data.models.items()
        },
        gammas={model: found for model, configs in plan.configs.items() if (found := _gammas(configs['semi']))},
        steps={name: phase.steps for name, phase in data.phases.items() if phase.steps},
        **_classes(plan, data),
    )
    write_json(work_dir / NOTES, {**before, **found})


def _process(commands: list[str]) -> dict[str, Any]:
    """Notes about the process itself; ``commands`` are those of earlier ones."""
    return dict(
        commands=list(dict.fromkeys([*commands, command()])),
        versions=versions(),
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU',
    )


def command(arguments: list[str] | None = None) -> str:
    """The command that runs, without the folders that lead to files outside of the current one.

    Example:
        >>> command(['/opt/mmdmt/tools/train.py', 'configs/dmt/fcn_digits.py', '--work-dir', '/data/runs/first'])
        'train.py configs/dmt/fcn_digits.py --work-dir first'
    """
    words = []
    for word in sys.argv if arguments is None else arguments:
        key, equals, value = word.rpartition('=')
        path = Path(value)
        here = path.is_absolute() and path.is_relative_to(Path.cwd())
        shown = str(path.relative_to(Path.cwd())) if here else path.name if path.is_absolute() else value
        words.append(f'{key}{equals}{shown}')
    return ' '.join(words)


def versions() -> dict[str, str]:
    """Package -> version, of those that are installed and decide what a run does; Python is among them."""
    found = {'python': platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found | installed_versions()


def _gammas(config: Mapping) -> list[str]:
    """The settings of each dynamic loss of a model, without repetition."""
    losses = dicts_of_type(config['model'], 'DynamicMutualLoss')
    found = (' '.join(f'{name}={loss[name]}' for name in ('gamma1', 'gamma2') if name in loss) for loss in losses)
    return list(dict.fromkeys(filter(None, found)))


def _classes(plan: RunPlan, data: RunData) -> dict[str, Any]:
    number = plan.num_classes(next(iter(data.models)))
    unlabeled = data.dataset(next(iter(data.models.values())).unlabeled, 'dmt.unlabeled')
    meta = data.dataset(next(iter(data.models.values())).labeled['semi'], 'dmt.labeled').metainfo
    palette = meta.get('palette') or unlabeled.metainfo.get('palette')
    counts = {title: counts.tolist()[:number] for title, counts in data.sets.class_counts.items()}
    return dict(
        classes=[str(name) for name in meta.get('classes') or range(number)],
        **({} if not palette else dict(palette=[list(map(int, color)) for color in palette])),
        **({} if not counts else dict(class_counts=counts)),  # known to the process that has checked the data
    )

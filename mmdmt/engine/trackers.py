"""TensorBoard, Weights & Biases, MLflow and the like: one run of them for a whole plan.

A tracker is a stock backend in ``visualizer.vis_backends``. mmengine would start a new run of it for every phase, with
steps from 0. Phases therefore keep their ``LocalVisBackend`` only, and the plan owns the others.
"""

import copy
import logging
import os
import uuid
from collections.abc import Mapping, MutableMapping
from importlib.util import find_spec
from numbers import Real
from pathlib import Path
from typing import Any

import mmengine.visualization  # noqa: F401  # registers the backends
import numpy as np
from mmengine.config import Config
from mmengine.registry import VISBACKENDS
from mmengine.visualization.vis_backend import BaseVisBackend

from mmdmt.config_dicts import type_name
from mmdmt.errors import UserError
from mmdmt.files import read_json, write_json

KEY, LOCAL, IDS = 'visualizer.vis_backends', 'LocalVisBackend', 'trackers.json'
TENSORBOARD, WANDB, MLFLOW = 'TensorboardVisBackend', 'WandbVisBackend', 'MLflowVisBackend'
PACKAGES = {TENSORBOARD: 'tensorboard', WANDB: 'wandb', MLFLOW: 'mlflow', 'ClearMLVisBackend': 'clearml',
            'NeptuneVisBackend': 'neptune', 'DVCLiveVisBackend': 'dvclive', 'AimVisBackend': 'aim'}  # fmt: skip
STEP = 'plan_step'
"""Figure that Weights & Biases counts steps by: the stock backend does not pass the step on."""


def keep_local(config: MutableMapping[str, Any]) -> None:
    """Leave only the local backend in the visualizer of a config, which the report needs; in place."""
    visualizer = config.get('visualizer')
    if visualizer:
        local = [backend for backend in _backends(visualizer) if type_name(backend) == LOCAL]
        visualizer['vis_backends'] = local or [dict(type=LOCAL)]


def trackers_of(cfg: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Type -> config of each tracker of a run.

    Raises:
        UserError: if one is unknown, or if its package is not installed.
    """
    found = {}
    for backend in _backends(cfg.get('visualizer') or {}):
        name = str(type_name(backend))
        if name == LOCAL:
            continue
        if not callable(VISBACKENDS.get(name)):  # the registry finds modules, too
            raise UserError(f'{KEY}: {name!r} is not one of {", ".join(sorted([LOCAL, *PACKAGES]))}')
        package = PACKAGES.get(name)
        if package is not None and not find_spec(package):
            raise UserError(f'{KEY}: {name} needs the package {package}, which is not installed: pip install {package}')
        found[name] = backend
    return found


def _backends(visualizer: Mapping[str, Any]) -> list[Any]:
    given = visualizer.get('vis_backends') or []
    return [given] if isinstance(given, Mapping) else list(given)


class Tracker:
    """Sends figures and pictures of a whole run to its trackers; does nothing without any.

    A tracker that fails later is left out with one warning: no run ends for it.

    Args:
        cfg: Config of the run.
        work_dir: Its work dir. ``trackers.json`` there names the runs of the trackers, so that a resumed run goes on
            with them.
        logger: For warnings.
    """

    def __init__(self, cfg: Config, work_dir: Path, logger: logging.Logger) -> None:
        self.cfg, self.work_dir, self.logger = cfg, work_dir, logger
        self._ids: dict[str, str] = (read_json(work_dir / IDS) or {}) if work_dir.is_dir() else {}
        before = dict(self._ids)
        self._resumed = set(before)
        self._backends = {name: self._start(name, backend) for name, backend in trackers_of(cfg).items()}
        if self._ids != before:
            write_json(work_dir / IDS, self._ids)

    def scalars(self, figures: Mapping[str, Any], step: int) -> None:
        """Send figures of a step of the plan; what is no number is left out."""
        numbers = {name: float(value) for name, value in figures.items() if isinstance(value, Real)}
        for name in list(self._backends):
            self._try(name, 'add_scalars', {**numbers, **({STEP: step} if name == WANDB else {})}, step)

    def picture(self, tag: str, image: np.ndarray, step: int) -> None:
        """Send a picture, uint8 [H, W, 3] in RGB."""
        for name, backend in list(self._backends.items()):
            if name == WANDB:  # the stock backend would give pictures steps of their own
                self._try(name, 'add_scalars', {tag: backend.experiment.Image(image), STEP: step})
            else:  # MLflow takes a file name, and would replace a picture of the same one
                self._try(name, 'add_image', f'{tag}_{step}.png' if name == MLFLOW else tag, image, step)

    def close(self) -> None:
        """Write what is still in memory."""
        for name in list(self._backends):
            self._try(name, 'close')
        self._backends = {}

    def _try(self, name: str, method: str, *args: Any) -> None:
        try:
            getattr(self._backends[name], method)(*args)
        except Exception as error:  # a server may fail in any way, and no run may
            self._backends.pop(name)
            text = (str(error).strip().splitlines() or [''])[0]
            self.logger.warning(f'{KEY}: {name} gets no more figures, since it failed: {type(error).__name__}: {text}')

    def _start(self, name: str, config: Mapping[str, Any]) -> BaseVisBackend:
        """Build a tracker, and begin its run or go on with it.

        Raises:
            UserError: if it does not start, as without a login.
        """
        folder = self.work_dir / name.removesuffix('VisBackend').lower()
        config = dict(copy.deepcopy(dict(config)), save_dir=config.get('save_dir') or str(folder))
        try:
            if name == WANDB:
                self._prepare_wandb(config)
            if name == MLFLOW:
                self._prepare_mlflow(config)
            backend = VISBACKENDS.build(config)
            self._begin(name, backend)
        except Exception as error:
            text = (str(error).strip().splitlines() or [''])[0]
            raise UserError(f'{KEY}: {name} does not start: {type(error).__name__}: {text}') from error
        return backend

    def _begin(self, name: str, backend: BaseVisBackend) -> None:
        if name == WANDB:  # its stock `add_config` would upload all code below the current folder
            backend.experiment.config.update(self.cfg.to_dict(), allow_val_change=True)
            return
        experiment = backend.experiment
        if name == MLFLOW:
            run = experiment.active_run() or experiment.start_run(run_name=self.work_dir.name)
            self._ids[MLFLOW] = run.info.run_id
        if name == MLFLOW or name not in self._resumed:  # without it, MLflow's stock backend cannot be closed
            backend.add_config(self.cfg)
        self._ids.setdefault(name, '')

    def _prepare_wandb(self, config: dict[str, Any]) -> None:
        own = self._ids.setdefault(WANDB, uuid.uuid4().hex[:8])
        config['init_kwargs'] = dict(dict(id=own, resume='allow', name=self.work_dir.name),
                                     **(config.get('init_kwargs') or {}))  # fmt: skip
        config.setdefault('define_metric_cfg', [dict(name='*', step_metric=STEP)])

    def _prepare_mlflow(self, config: dict[str, Any]) -> None:
        if self._ids.get(MLFLOW):
            os.environ['MLFLOW_RUN_ID'] = self._ids[MLFLOW]  # the next run that MLflow starts is this one
        if not config.get('tracking_uri'):
            os.environ.setdefault('MLFLOW_ALLOW_FILE_STORE', 'true')  # MLflow 3 asks for it; the stock backend does not
        # The stock backend would log each key as a parameter, of which no value may change, and all files again at the
        # end of each attempt, its own copies included.
        config.setdefault('tracked_config_keys', [])
        config.setdefault('artifact_suffix', ())

"""The content of a DMT config, before any data is read."""

from collections.abc import Mapping
from dataclasses import dataclass

from mmengine.config import Config

from mmdmt.config_dicts import merge
from mmdmt.core.schedule import Phase
from mmdmt.engine import old_keys
from mmdmt.engine.settings import STAGES, DMTSettings, Overrides, Stage
from mmdmt.engine.task import Task, task_of


@dataclass(frozen=True)
class RunPlan:
    """A DMT config, read once: its settings, its phases and the config of each model.

    ``configs``: model -> stage (None for labeling and tests) -> ordinary config, without the keys of the whole run
    (``dmt``, ``runner_type``). The configs are shared: copy one before changing it.
    """

    cfg: Config
    settings: DMTSettings
    task: Task
    phases: tuple[Phase, ...]
    configs: Mapping[str, Mapping[Stage | None, dict]]

    @classmethod
    def of(cls, cfg: Config) -> 'RunPlan':
        """Read a config.

        Raises:
            ValueError: if the config is not valid; names the key, the value found and what is allowed.
        """
        cfg = old_keys.current(cfg)
        settings = DMTSettings.from_config(cfg)
        base = {key: value for key, value in cfg.to_dict().items() if key not in ('dmt', 'runner_type')}
        stages: tuple[Stage | None, ...] = (None, *STAGES)
        configs = {
            model: {stage: _model_config(base, settings, model, stage) for stage in stages} for model in settings.models
        }
        return cls(cfg, settings, task_of(cfg), tuple(settings.phases()), configs)

    def num_classes(self, model: str) -> int:
        """Number of classes of a model."""
        return self.task.num_classes(self.configs[model][None]['model'])


def _model_config(base: Mapping, settings: DMTSettings, model: str, stage: Stage | None) -> dict:
    """Merge the overrides of the stage, of the model, and of the model's stage into the base config."""
    own = settings.models[model]
    layers = [own] if stage is None else [getattr(settings, stage), own, own.get(stage, {})]
    result = dict(base)
    for layer in layers:
        if 'type' in (layer.get('model') or {}):  # a new model, not a change of the base
            result.pop('model')
        result = merge(result, {key: value for key, value in layer.items() if key in Overrides.model_fields})
    return result

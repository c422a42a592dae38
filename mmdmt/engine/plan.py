"""The content of a DMT config, before any data is read."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from mmengine.config import Config

from mmdmt.config_dicts import merge, stock_model
from mmdmt.core.schedule import Phase
from mmdmt.engine import old_keys
from mmdmt.engine.from_stock import with_dynamic_loss
from mmdmt.engine.settings import STAGES, DMTSettings, Overrides, Stage
from mmdmt.engine.task import Task, task_of
from mmdmt.errors import UserError

# Keys at the top of a config that have a meaning for mmengine's runner or for a DMT run.
TOP_KEYS = sorted(
    {
        *Overrides.model_fields,
        'test_dataloader',
        'test_cfg',
        'test_evaluator',
        'dmt',
        'runner_type',
        'work_dir',
        'resume',
    }
    | {'launcher', 'log_level', 'visualizer', 'vis_backends', 'default_scope', 'custom_imports', 'tta_model'}
    | {'tta_pipeline', 'test_pipeline', 'train_pipeline', 'val_pipeline', 'label_pipeline', 'data_root'}
)


@dataclass(frozen=True, repr=False)
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
        Overrides.read({key: value for key, value in base.items() if key in Overrides.model_fields}, '')
        stages: tuple[Stage | None, ...] = (None, *STAGES)
        configs = {
            model: {stage: _model_config(base, settings, model, stage) for stage in stages} for model in settings.models
        }
        if settings.scheme != 'single':
            _use_dynamic_losses(configs, settings.loss, task_of(cfg))
        elif settings.loss:
            raise UserError("dmt.loss has no effect with dmt.scheme='single': set the arguments of the method")
        _check_known_keys(cfg)
        for model, config in configs.items():
            _check_batch(config['supervised'], model)
            if settings.select == 'val' and not config[None].get('val_dataloader'):
                raise UserError(f"dmt.select='val' needs a val_dataloader, and model {model} has none")
            for key in ('dataloader', 'evaluator'):
                if settings.select == 'holdout' and not (
                    config[None].get(f'val_{key}') or config[None].get(f'test_{key}')
                ):
                    raise UserError(
                        f"dmt.select='holdout' needs a val_{key} or a test_{key}, and model {model} has none"
                    )
        return cls(cfg, settings, task_of(cfg), tuple(settings.phases()), configs)

    def num_classes(self, model: str) -> int:
        """Number of classes of a model."""
        return self.task.num_classes(stock_model(self.configs[model][None]['model']))


def _check_known_keys(cfg: Config) -> None:
    """Refuse a key at the top of a config that is nearly one that has a meaning there: it would have none."""
    for key in cfg:
        if key in TOP_KEYS:
            continue
        swapped = [known for known in TOP_KEYS if sorted(known) == sorted(key)]
        close = swapped or difflib.get_close_matches(key, TOP_KEYS, n=1, cutoff=0.86)
        if close:
            raise UserError(f'{key} at the top of the config has no meaning: should it be {close[0]}?')


def _check_batch(config: Mapping, model: str) -> None:
    found = (config.get('train_dataloader') or {}).get('batch_size')
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise UserError(
            f'train_dataloader.batch_size of model {model} must be a whole number above 0, got {found!r}: the labeled '
            'images in a batch of the first phase'
        )


def _model_config(base: Mapping, settings: DMTSettings, model: str, stage: Stage | None) -> dict:
    """Merge the overrides of the stage, of the model, and of the model's stage into the base config.

    The stage on labeled data only trains the stock model of a method.
    """
    own = settings.models[model]
    layers = [own] if stage is None else [getattr(settings, stage), own, own.get(stage, {})]
    result = dict(base)
    for layer in layers:
        if 'type' in (layer.get('model') or {}):  # a new model, not a change of the base
            result.pop('model', None)
        if 'data_preprocessor' in layer and (result.get('model') or {}).get('data_preprocessor') is not None:
            raise UserError(
                f'data_preprocessor in the overrides of model {model} has no effect, since its model has one of its '
                'own: change model.data_preprocessor'
            )
        result = merge(result, {key: value for key, value in layer.items() if key in Overrides.model_fields})
    return _of_method(result, stage)


def _use_dynamic_losses(configs: Mapping[str, Mapping[Stage | None, dict]], arguments: Mapping, task: Task) -> None:
    """Turn the stock models into those of DMT, in place."""
    stock = False
    for config in [config for stages in configs.values() for config in stages.values()]:
        model = with_dynamic_loss(config.get('model') or {}, arguments, task)
        if model is not None:
            stock, config['model'] = True, model
    if arguments and not stock:
        raise UserError(
            f'dmt.loss={dict(arguments)!r} has no effect, since no model is a stock model: set these arguments in the '
            'DynamicMutualLoss of the models'
        )


def _of_method(config: dict, stage: Stage | None) -> dict:
    """Adapt the config of a method: its stock model owns the ``data_preprocessor``, and trains alone at first.

    mmengine's runner passes a ``data_preprocessor`` at the top of a config to the outermost model.
    """
    stock = stock_model(config.get('model') or {})
    if stock is config.get('model') or not stock:
        return config
    preprocessor = config.pop('data_preprocessor', None)
    if preprocessor is not None:
        stock.setdefault('data_preprocessor', preprocessor)
    return {**config, 'model': stock} if stage == 'supervised' else config

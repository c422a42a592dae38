"""The plan of an experiment, checked."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdmt.core.experiment import ANY_MODEL
from mmdmt.engine.settings import check_keys

NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9.-]*(_[A-Za-z0-9.-]+)*')
# Names of the rows that every table has.
RESERVED = ('baseline', 'control', 'oracle')


@dataclass(frozen=True)
class DataSet:
    """A data set of a plan.

    ``config``: the DMT config: the baselines, the control and all methods are changes of it.
    ``options``: dotted key -> value, over that config.
    ``data_root``: where the data lies, if not where the configs say.
    ``oracle``: an ordinary config, or model -> ordinary config where the models have different architectures.
    ``frequent_classes``: names of the classes of a second mIoU.
    ``label_images``: unlabeled images whose masks the pseudo labels of every method are compared with; 0 for none.
    """

    config: str
    options: Mapping[str, Any]
    data_root: str | None
    oracle: Mapping[str, str]
    frequent_classes: tuple[str, ...]
    label_images: int = 0


@dataclass(frozen=True)
class Method:
    """A method of a plan: what it changes in the DMT config of a data set.

    ``config``: another DMT config in its place; ``{data_set}`` in it stands for the data set's name.
    ``options``: dotted key -> value.
    ``loss``: arguments of every ``DynamicMutualLoss`` of the config, in whichever model it is.
    ``self_training``: models that each teach themselves, in a run of their own (``dmt.scheme='self'``).
    ``labels_only``: train each baseline on with labels only, for as many steps and with the settings of ``semi``: the
    control of a method that changes them.
    """

    config: str | None
    options: Mapping[str, Any]
    loss: Mapping[str, Any]
    self_training: tuple[str, ...]
    labels_only: bool = False


@dataclass(frozen=True)
class ExperimentPlan:
    """Checked content of a plan file.

    ``seeds``: the repetitions.
    ``data_sets``, ``methods``: by name.
    ``control``: train the baselines on with labels only, for as many steps as DMT takes.
    ``seed_keys``: config keys that get the seed; None for ``randomness.seed`` and, where the config has a
    ``dmt.split``, ``dmt.split.split_id``. Those of ``dmt`` do not concern an Oracle.
    """

    seeds: tuple[int, ...]
    data_sets: Mapping[str, DataSet]
    methods: Mapping[str, Method]
    control: bool
    seed_keys: tuple[str, ...] | None

    @classmethod
    def from_file(cls, path: str | Path) -> 'ExperimentPlan':
        """Read a plan file.

        Raises:
            FileNotFoundError: if it, or a config that it names, does not exist.
            ValueError: naming the key, the value found and what is allowed.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f'plan {path} does not exist')
        # Names that begin with _ are the file's own variables.
        content = {key: value for key, value in Config.fromfile(path).to_dict().items() if not key.startswith('_')}
        check_keys(str(path), content, [field.name for field in fields(cls)])
        data_sets = _named(content.get('data_sets'), 'data_sets')
        methods = _named(content.get('methods'), 'methods')
        reserved = sorted(methods.keys() & set(RESERVED))
        if reserved:
            raise ValueError(f'methods.{reserved[0]}: {", ".join(RESERVED)} are names of what is run anyway')
        plan = cls(
            seeds=_seeds(content.get('seeds')),
            data_sets={name: _data_set(value, f'data_sets.{name}') for name, value in data_sets.items()},
            methods={name: _method(value, f'methods.{name}') for name, value in methods.items()},
            control=_typed(content.get('control', True), bool, 'control'),
            seed_keys=None if content.get('seed_keys') is None else _texts(content['seed_keys'], 'seed_keys'),
        )
        for name in plan.methods:
            for data_set in plan.data_sets:
                _check_file(plan.method_config(data_set, name), f'methods.{name}.config')
        return plan

    def method_config(self, data_set: str, method: str) -> str:
        """Path of the DMT config that a method starts from."""
        own = self.methods[method].config
        return self.data_sets[data_set].config if own is None else own.replace('{data_set}', data_set)


def _data_set(content: Any, key: str) -> DataSet:
    check_keys(key, content, [field.name for field in fields(DataSet)])
    if not content.get('config'):
        raise ValueError(f'{key}.config is missing: the DMT config of the data set')
    oracle = content.get('oracle') or {}
    result = DataSet(
        config=_typed(content['config'], str, f'{key}.config'),
        options=_typed(content.get('options', {}), Mapping, f'{key}.options'),
        data_root=content.get('data_root'),
        oracle={ANY_MODEL: oracle} if isinstance(oracle, str) else dict(_typed(oracle, Mapping, f'{key}.oracle')),
        frequent_classes=_texts(content.get('frequent_classes', ()), f'{key}.frequent_classes'),
        label_images=_typed(content.get('label_images', 0), int, f'{key}.label_images'),
    )
    if result.label_images < 0:
        raise ValueError(f'{key}.label_images must be at least 0, got {result.label_images}')
    _check_file(result.config, f'{key}.config')
    for path in result.oracle.values():
        _check_file(path, f'{key}.oracle')
    return result


def _method(content: Any, key: str) -> Method:
    check_keys(key, content, [field.name for field in fields(Method)])
    return Method(
        config=content.get('config'),
        options=_typed(content.get('options', {}), Mapping, f'{key}.options'),
        loss=_typed(content.get('loss', {}), Mapping, f'{key}.loss'),
        self_training=_texts(content.get('self_training', ()), f'{key}.self_training'),
        labels_only=_typed(content.get('labels_only', False), bool, f'{key}.labels_only'),
    )


def _seeds(seeds: Any) -> tuple[int, ...]:
    if not isinstance(seeds, list | tuple) or not seeds:
        raise ValueError(f'seeds must be a list of at least one whole number, got {seeds!r}')
    for seed in seeds:
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise ValueError(f'seeds must hold whole numbers from 0 on, got {seed!r} in {seeds!r}')
        if seeds.count(seed) > 1:
            raise ValueError(f'seeds: {seed} is given {seeds.count(seed)} times in {seeds!r}; each may be given once')
    return tuple(seeds)


def _named(content: Any, key: str) -> dict[str, Any]:
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f'{key} must be a dict of name -> settings with at least one entry, got {content!r}')
    for name in content:
        if not NAME.fullmatch(name):
            raise ValueError(f'{key}: the name {name!r} must be usable as a folder: {NAME.pattern}')
    return dict(content)


def _texts(value: Any, key: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError(f'{key} must be a list of names, got {value!r}')
    if len(set(value)) != len(value):
        raise ValueError(f'{key} names one twice: {value!r}')
    return tuple(value)


def _typed(value: Any, kind: type, key: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f'{key} must be a {kind.__name__}, got {value!r}')
    return value


def _check_file(path: str, key: str) -> None:
    if not Path(path).is_file():
        raise FileNotFoundError(f'{key}: config {path!r} does not exist')

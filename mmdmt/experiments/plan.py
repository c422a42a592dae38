"""The checked plan of an experiment."""

import re
from pathlib import Path
from typing import Annotated, Any

from mmengine.config import Config
from pydantic import AfterValidator, BeforeValidator, Field

from mmdmt.checked import Checked, NotNegativeInt
from mmdmt.errors import MissingFileError, UserError
from mmdmt.experiments.jobs import ANY_MODEL

NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9.-]*(_[A-Za-z0-9.-]+)*')
# Names of the rows that every table has.
RESERVED = ('baseline', 'control', 'oracle')


def _once(values: tuple) -> tuple:
    for value in values:
        if values.count(value) > 1:
            raise UserError(f'must hold each value once, got {value!r} {values.count(value)} times in {values!r}')
    return values


def _usable(content: dict) -> dict:
    if not content:
        raise UserError('must have at least one entry, got {}')
    for name in content:
        if not NAME.fullmatch(name):
            raise UserError(f'must hold names that are valid folder names ({NAME.pattern}), got {name!r}')
    return content


def _not_reserved(methods: dict) -> dict:
    for name in sorted(methods.keys() & set(RESERVED)):
        raise UserError(f'must not hold {name!r}: {", ".join(RESERVED)} are reserved names')
    return methods


def _file(path: str) -> str:
    if not Path(path).is_file():
        raise UserError(f'names config {path!r}, which does not exist')
    return path


def _by_model(oracle: Any) -> Any:
    """Turn one config for all models into a dict with ``ANY_MODEL``."""
    return {ANY_MODEL: oracle} if isinstance(oracle, str) else oracle


ConfigFile = Annotated[str, AfterValidator(_file)]
Names = Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_once)]
Seeds = Annotated[tuple[NotNegativeInt, ...], Field(strict=False, min_length=1), AfterValidator(_once)]


class DataSet(Checked):
    """A data set of a plan."""

    config: ConfigFile
    """DMT config that the baselines, the control and all methods change."""
    options: dict[str, Any] = {}
    """Dotted key -> value; overrides that config."""
    data_root: str | None = None
    """Folder of the data; default: as in the configs."""
    oracle: Annotated[dict[str, ConfigFile], BeforeValidator(_by_model)] = {}
    """An ordinary config, or model -> ordinary config if the models have different architectures."""
    frequent_classes: Names = ()
    """Names of the classes of a second mIoU."""
    label_images: NotNegativeInt = 0
    """Number of unlabeled images on which every method's pseudo labels are compared with the masks; 0 for none."""


class Method(Checked):
    """A method of a plan: its changes of a data set's DMT config."""

    config: str | None = None
    """DMT config to use instead; ``{data_set}`` is replaced by the data set's name."""
    options: dict[str, Any] = {}
    """Dotted key -> value."""
    loss: dict[str, Any] = {}
    """Arguments of every ``DynamicMutualLoss`` of the config, in any model."""
    self_training: Names = ()
    """Models that teach themselves, each in a separate run (``dmt.scheme='self'``)."""
    labels_only: bool = False
    """Continue each baseline with labels only, with the number of steps and settings of ``semi``: the control of a
    method that changes them."""


class ExperimentPlan(Checked):
    """Checked content of a plan file."""

    seeds: Seeds
    """The repetitions."""
    data_sets: Annotated[dict[str, DataSet], AfterValidator(_usable)]
    """By name."""
    methods: Annotated[dict[str, Method], AfterValidator(_usable), AfterValidator(_not_reserved)]
    """By name."""
    control: bool = True
    """Continue the baselines with labels only, for as many steps as DMT takes."""
    seed_keys: Names | None = None
    """Config keys that get the seed; None for ``randomness.seed`` and, if the config has a ``dmt.split``,
    ``dmt.split.split_id``. An Oracle ignores keys of ``dmt``."""

    @classmethod
    def from_file(cls, path: str | Path) -> 'ExperimentPlan':
        """Read a plan file.

        Raises:
            FileNotFoundError: if the plan file does not exist.
            ValueError: if the plan is not valid or one of its configs does not exist; names the key, the value found
                and what is allowed.
        """
        if not Path(path).is_file():
            raise MissingFileError(f'plan {path} does not exist')
        # Names that begin with _ are private to the file.
        content = {key: value for key, value in Config.fromfile(path).to_dict().items() if not key.startswith('_')}
        try:
            plan = cls.read(content, '')
        except ValueError as error:
            raise UserError(f'{path}: {error}') from None
        for name in plan.methods:
            for config in (plan.method_config(data_set, name) for data_set in plan.data_sets):
                if not Path(config).is_file():
                    raise UserError(f'{path}: methods.{name}.config names config {config!r}, which does not exist')
        return plan

    def method_config(self, data_set: str, method: str) -> str:
        """Path of the DMT config that a method starts from."""
        own = self.methods[method].config
        return self.data_sets[data_set].config if own is None else own.replace('{data_set}', data_set)

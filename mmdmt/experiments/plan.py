"""The checked plan of an experiment."""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from mmdmt.checked import Checked, NotNegativeInt
from mmdmt.engine.cli import read_config
from mmdmt.errors import MissingFileError, UserError
from mmdmt.experiments.jobs import ANY_MODEL
from mmdmt.shipped import find_config

NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9.-]*(_[A-Za-z0-9.-]+)*')
BASELINE = 'baseline'
# Names of the rows that every table has.
RESERVED = (BASELINE, 'control', 'oracle')


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


def _filled(rows: dict) -> dict:
    if not rows:
        raise UserError('must have at least one entry, got {}')
    return rows


def _file(path: str) -> str:
    try:
        find_config(path)
    except MissingFileError:
        raise UserError(f'names config {path!r}, which does not exist') from None
    return path


def _by_model(oracle: Any) -> Any:
    """Turn one config for all models into a dict with ``ANY_MODEL``."""
    return {ANY_MODEL: oracle} if isinstance(oracle, str) else oracle


ConfigFile = Annotated[str, AfterValidator(_file)]
Names = Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_once)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
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
    oracle_of: str | None = None
    """Name of another data set whose Oracle is also the one of this data set, so that it is trained once."""
    frequent_classes: Names = ()
    """Names of the classes of a second mIoU."""
    label_images: NotNegativeInt = 0
    """Segmentation: number of unlabeled images on which every method's pseudo labels are compared with the masks; 0 for
    none. If the config does not name their folder: ``options={'dmt.unlabeled.data_prefix.seg_map_path': ...}``."""


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
    supervised_only: Names = ()
    """Models of which only the first phase is trained, each in a separate run: baselines of another kind."""
    baseline: str = BASELINE
    """Which baselines the runs start from: ``baseline`` or a ``supervised_only`` method. On a data set without that
    method, ``baseline``."""
    data_sets: Names = ()
    """Data sets that the method runs on; empty for all."""


class PublishedRow(Checked):
    """A row of a publication's table."""

    values: dict[str, Percent]
    """Data set -> figure, in percent."""
    oracle: Percent | None = None
    """The publication's figure of the same network with all labels."""


class Published(Checked):
    """Figures of a publication. They stand beside those of the experiment, marked, and are never taken for them."""

    source: Annotated[str, Field(min_length=1)]
    """Where the figures are printed."""
    rows: Annotated[dict[str, PublishedRow], AfterValidator(_filled)]
    """Name of a method -> its figures; the publication's methods need not be methods of the plan."""


class ExperimentPlan(Checked):
    """Checked content of a plan file."""

    seeds: Seeds
    """The repetitions."""
    data_sets: Annotated[dict[str, DataSet], AfterValidator(_usable)]
    """Name -> :class:`DataSet`."""
    methods: Annotated[dict[str, Method], AfterValidator(_usable), AfterValidator(_not_reserved)]
    """Name -> :class:`Method`."""
    control: bool = True
    """Continue the baselines with labels only, for as many steps as DMT takes, with the settings of ``semi``."""
    published: Published | None = None
    """Figures that ``tools/experiment.py --published`` adds."""
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
        # Names that begin with _ are private to the file.
        content = {key: value for key, value in read_config(path, {}).to_dict().items() if not key.startswith('_')}
        if 'model' in content or 'runner_type' in content:
            raise UserError(f'{path} is the config of a run, not a plan of experiments (docs/compare.md describes one)')
        try:
            plan = cls.read(content, '')
        except ValueError as error:
            raise UserError(f'{path}: {error}') from None
        try:
            plan._check_names()
        except ValueError as error:
            raise UserError(f'{path}: {error}') from None
        return plan

    def _check_names(self) -> None:
        """Check names that one part of the plan uses of another, and the configs of the methods."""
        for name, data_set in self.data_sets.items():
            _check_oracle_of(name, data_set, self.data_sets)
        for name, method in self.methods.items():
            _check_known(f'methods.{name}.data_sets', method.data_sets, self.data_sets)
            for config in (self.method_config(data_set, name) for data_set in self.data_sets_of(name)):
                try:
                    _file(config)
                except UserError as error:
                    raise UserError(f'methods.{name}.config {error}') from None
            _check_baseline(name, method, self.methods)
        for name, row in (self.published.rows if self.published else {}).items():
            _check_known(f'published.rows.{name}.values', row.values, self.data_sets)

    def oracle_of(self, data_set: str) -> str | None:
        """Name of another data set whose Oracle is also the one of ``data_set``."""
        own = self.data_sets.get(data_set)
        return own and own.oracle_of

    def data_sets_of(self, method: str) -> tuple[str, ...]:
        """Names of the data sets that a method runs on."""
        return self.methods[method].data_sets or tuple(self.data_sets)

    def baseline_of(self, data_set: str, method: str) -> str:
        """Name of the baselines that a method starts from on a data set."""
        baseline = self.methods[method].baseline
        return baseline if baseline in self.methods and data_set in self.data_sets_of(baseline) else BASELINE

    def method_config(self, data_set: str, method: str) -> str:
        """Path of the DMT config that a method starts from."""
        own = self.methods[method].config
        return self.data_sets[data_set].config if own is None else own.replace('{data_set}', data_set)


def _check_known(key: str, names: Iterable[str], known: Collection[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(f'{key}: {unknown[0]!r} is not one of {", ".join(known)}')


def _check_oracle_of(name: str, data_set: DataSet, data_sets: Mapping[str, DataSet]) -> None:
    other = data_set.oracle_of
    if other is None:
        return
    key = f'data_sets.{name}.oracle_of'
    _check_known(key, [other], [known for known in data_sets if data_sets[known].oracle])
    if data_set.oracle:
        raise UserError(f'{key}={other!r}, but the data set has an oracle of its own')


def _check_baseline(name: str, method: Method, methods: Mapping[str, Method]) -> None:
    key = f'methods.{name}'
    known = [BASELINE, *(other for other in methods if methods[other].supervised_only)]
    _check_known(f'{key}.baseline', [method.baseline], known)
    if method.supervised_only and (method.self_training or method.labels_only or method.baseline != BASELINE):
        raise UserError(f'{key}.supervised_only excludes self_training, labels_only and baseline')

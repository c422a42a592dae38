"""The checked ``dmt`` dict of a config."""

import copy
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from mmengine.config import Config
from pydantic import AfterValidator, Field

from mmdmt.checked import Checked, NotNegativeInt, Positive, PositiveInt, check_keys
from mmdmt.config_dicts import merge
from mmdmt.core.schedule import Phase, Scheme, plan
from mmdmt.engine.from_stock import DATA_KEYS, with_data
from mmdmt.engine.task import Task, task_of
from mmdmt.errors import UserError

Stage = Literal['supervised', 'semi']
"""Stage of a train phase: on labeled data only, or with pseudo labels."""

SequenceOf = Annotated[list, Field(strict=False)]  # tuples are accepted too


def _dict_or_list(value: Any) -> Any:
    if value is not None and not isinstance(value, dict | list | tuple):
        raise UserError(f'must be a dict or a list, got {value!r}')
    return value


DictOrList = Annotated[Any, AfterValidator(_dict_or_list)]


class Overrides(Checked):
    """Config keys that a stage or a model may override: those that define an ordinary training run."""

    model: dict | None = None
    data_preprocessor: dict | None = None
    train_dataloader: dict | None = None
    val_dataloader: dict | None = None
    train_cfg: dict | None = None
    val_cfg: dict | None = None
    val_evaluator: DictOrList = None
    optim_wrapper: dict | None = None
    param_scheduler: DictOrList = None
    auto_scale_lr: dict | None = None
    default_hooks: dict | None = None
    custom_hooks: SequenceOf | None = None
    load_from: str | None = None
    randomness: dict | None = None
    env_cfg: dict | None = None
    model_wrapper_cfg: dict | None = None
    sync_bn: str | None = None
    find_unused_parameters: bool = False
    compile: Any = False
    activation_checkpointing: Any = None
    efficient_conv_bn_eval: Any = None
    log_processor: dict | None = None


class SupervisedStage(Overrides):
    """Length and config overrides of the phases on labeled data only."""

    labeled: dict | None = None
    """Overrides of ``dmt.labeled`` for these phases only."""

    epochs: Positive | None = None
    """Length in passes over the labeled images."""
    iters: PositiveInt | None = None
    """Length in optimizer steps; takes precedence over ``epochs``."""


class SemiStage(SupervisedStage):
    """Length (``epochs``: passes over the unlabeled images), batches and overrides of the phases with pseudo labels."""

    unlabeled: dict | None = None
    """Overrides of ``dmt.unlabeled``."""
    label_pipeline: SequenceOf | None = None
    """Replaces ``dmt.label_pipeline``."""
    labeled_per_batch: PositiveInt
    """Labeled images in the batch of each process."""
    unlabeled_per_batch: PositiveInt
    """Unlabeled images in the batch of each process."""
    min_iters: PositiveInt | None = None
    """Least number of optimizer steps of a phase whose length is set in ``epochs``, for few unlabeled images."""


class ModelOverrides(Overrides):
    """Overrides of one model."""

    labeled: dict | None = None
    """Overrides of ``dmt.labeled``."""
    unlabeled: dict | None = None
    """Overrides of ``dmt.unlabeled``."""
    label_pipeline: SequenceOf | None = None
    """Replaces ``dmt.label_pipeline``."""
    supervised: dict | None = None
    """Overrides of ``dmt.supervised``."""
    semi: dict | None = None
    """Overrides of ``dmt.semi``."""
    weights_help: str = ''
    """How to get the initial weights; part of the message if they are missing."""
    supervised_checkpoint: str | None = None
    """A checkpoint of this model, trained on labeled data; replaces the training of the first phase."""


LENGTH_KEYS = frozenset(SemiStage.model_fields) - frozenset(Overrides.model_fields) - frozenset(DATA_KEYS)
STAGES: dict[Stage, type[SupervisedStage]] = {'supervised': SupervisedStage, 'semi': SemiStage}


class SplitSettings(Checked):
    """Selects the labeled images of ``dmt.labeled``; all others become unlabeled."""

    ratio: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    """Segmentation: one in ``ratio`` images is labeled; 20 with ``split_id=0`` gives the paper's published list."""
    num_labeled: PositiveInt | None = None
    """Classification: number of labeled images, equally many of each class; larger sets contain the smaller ones."""
    split_id: NotNegativeInt = 0
    """Which of the random choices; 0, 1, 2 are the published ones for segmentation."""
    seed: int = 7777
    """Seed of the shuffle; 7777 is the paper's."""
    difference_maximised: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the labeled images that each of two models sees in its first phase, as different as possible; every
    later phase sees all of them. The paper uses 0.8."""


class DMTSettings(Checked):
    """Checked content of the ``dmt`` dict.

    Later sources override earlier ones: the config, ``supervised`` or ``semi``, the model, ``supervised`` or ``semi``
    of the model.
    """

    models: dict[str, dict]
    """Name -> overrides of this model (:class:`ModelOverrides`), such as ``load_from`` or ``optim_wrapper``. A
    ``model`` with a ``type`` replaces the config's, others are merged into it."""
    labeled: dict
    """Dataset config of the labeled images, with their training pipeline; default: ``train_dataloader.dataset``."""
    unlabeled: dict
    """Dataset config of the unlabeled images, with their training pipeline, which ends with ``Views`` for ``single``;
    default with ``split``: ``labeled``."""
    label_pipeline: SequenceOf = []
    """Transforms of the images to label; default: those of the test images, up to their labels. Not used by
    ``single``."""
    loss: dict = {}
    """Arguments of the ``DynamicMutualLoss`` that stock models get, such as ``gamma1`` and ``gamma2``."""
    supervised: dict = {}
    """The phases on labeled images only: their length and overrides (:class:`SupervisedStage`). ``single`` works
    without: it then has one phase only."""
    semi: dict
    """The phases with pseudo labels, or of the method: length, batches and overrides (:class:`SemiStage`)."""
    scheme: Scheme = 'mutual'
    """Which model teaches which: ``mutual`` (two models, each other), ``self`` (one model, itself), ``chain`` (one
    model, trained anew in each iteration), ``single`` (one method of one phase, which needs no labels on disk)."""
    reinitialise: bool = False
    """Start each iteration from new weights, as ``chain`` always does."""
    label_ratios: Annotated[tuple[float, ...], Field(strict=False)] = (0.2, 0.4, 0.6, 0.8, 1.0)
    """Share of the pseudo labels to use, one per iteration; empty for ``single``."""
    split: SplitSettings | None = None
    """Chooses the labeled images from ``labeled``; the others are unlabeled (:class:`SplitSettings`). None uses both
    datasets unchanged."""
    ranking: str
    """Which labels are ranked together by confidence: those of each predicted ``class`` (pixels or images; default for
    segmentation), or those of ``all`` images (the paper's way, default for classification)."""
    label_writer: dict = {}
    """How labels are written, segmentation only: ``archives``, and for comparisons with the published code
    ``rank_stride`` and ``half`` (:class:`LabelMapSettings`)."""
    select: Literal['last', 'val', 'holdout'] = 'last'
    """Which checkpoint a phase hands over: the last one, the best on the validation set, or the best on labeled images
    that no phase trains on."""
    holdout: Annotated[float, Field(gt=0, lt=1)] | None = None
    """With ``select='holdout'``: share of the labeled images, drawn by class (more where images show several classes),
    that no phase trains on and that choose checkpoints and models instead of the validation set; default 0.1.
    ``splits/holdout.txt`` lists them."""
    label_amp: bool = False
    """Label in mixed precision, as the published code does; confidences are computed in float32 all the same."""
    metric: str
    """Metric of ``val_evaluator`` that selects checkpoints and models; default ``mIoU``, or ``accuracy/top1``."""
    keep_labels: bool = False
    """Keep pseudo labels after use."""
    keep_checkpoints: bool = True
    """Keep the weights of all phases; False keeps those that later phases or the result need."""
    report: bool = True
    """Write ``report.html`` and ``report.md`` at the end of every phase; False writes a short report.md at the end."""
    rehearse: bool = True
    """Before the run, try the first phases for one step on a few images. Without a GPU, later phases of a large model
    are not tried, which the log says."""

    @classmethod
    def from_config(cls, cfg: Config) -> 'DMTSettings':
        """Read the ``dmt`` dict of a config.

        Raises:
            ValueError: if the dict is not valid; names the key, the value found and what is allowed.
        """
        if not isinstance(cfg.get('dmt'), Mapping):
            raise UserError('the config has no `dmt` dict: it is not a DMT config')
        task = task_of(cfg)
        dmt = with_data(copy.deepcopy(cfg.dmt.to_dict()), copy.deepcopy(cfg.to_dict()), task)
        single = dmt.get('scheme') == 'single'
        for name in ('models', 'labeled', 'unlabeled', 'semi', *(() if single else ('label_pipeline', 'supervised'))):
            if dmt.get(name) in (None, {}, [], ()):
                raise UserError(f'dmt.{name} is missing or empty')
        dmt.setdefault('metric', task.metric)
        dmt.setdefault('ranking', task.rankings[0])
        if single:
            dmt.setdefault('label_ratios', ())
        if dmt.get('split') is not None:
            _check_split(dmt['split'], task)
        settings = cls.read(dmt, 'dmt')
        settings._check_stages()
        if settings.holdout is not None and settings.select != 'holdout':
            raise UserError(f"dmt.holdout={settings.holdout} needs dmt.select='holdout', got {settings.select!r}")
        if settings.split is not None and settings.split.difference_maximised is not None and len(settings.models) != 2:
            raise UserError(f'dmt.split.difference_maximised needs exactly two models, got {len(settings.models)}')
        settings.phases()
        _check_choice('dmt.ranking', settings.ranking, task.rankings)
        _check_choice('dmt.scheme', settings.scheme, task.schemes)
        task.label_writer_settings.read(settings.label_writer, 'dmt.label_writer')
        return settings

    def stage(self, phase: Phase) -> dict:
        """Settings of the stage of a train phase, including the overrides of its model."""
        stage = stage_of(phase)
        return merge(getattr(self, stage), self.models[phase.model].get(stage, {}))

    def supervised_checkpoint(self, phase: Phase) -> str | None:
        """The checkpoint that replaces a phase's training; None if the phase is trained."""
        return self.models[phase.model].get('supervised_checkpoint') if phase.supervised else None

    def phases(self) -> list[Phase]:
        """The phases of the run, in order."""
        try:
            return plan(self.scheme, list(self.models), self.label_ratios, self.reinitialise, self.has_baseline)
        except ValueError as error:
            raise UserError(f'dmt: {error}') from None

    @property
    def has_baseline(self) -> bool:
        """Whether the run begins with training on labeled data only."""
        return bool(self.supervised) or self.scheme != 'single'

    def _check_stages(self) -> None:
        for name, overrides in self.models.items():
            ModelOverrides.read(overrides, f'dmt.models.{name}')
            if not self.has_baseline and overrides.get('supervised_checkpoint'):
                raise UserError(
                    f'dmt.models.{name}.supervised_checkpoint replaces a first phase, which this run does not have: '
                    'set the length of dmt.supervised, or load_from'
                )
            for stage in STAGES.keys() & overrides.keys():
                check_keys(f'dmt.models.{name}.{stage}', overrides[stage], STAGES[stage].model_fields)
        for stage, fields in STAGES.items():
            if stage == 'supervised' and not self.has_baseline:
                continue
            for name, overrides in (('', {}), *self.models.items()):
                own = f' (merged with dmt.models.{name})' if name else ''
                merged = merge(getattr(self, stage), overrides.get(stage, {}))
                found = fields.read(merged, f'dmt.{stage}{own}')
                if found.iters is None and found.epochs is None:
                    raise UserError(
                        f'dmt.{stage}{own} has no length: set `epochs` (number of passes) or `iters` (optimizer steps)'
                    )
                least = getattr(found, 'min_iters', None)
                if found.iters is not None and least is not None:
                    raise UserError(
                        f'dmt.{stage}{own}: min_iters={least} belongs to `epochs`, but the length is '
                        f'iters={found.iters}: set only one of the two (None unsets a key)'
                    )


def stage_of(phase: Phase) -> Stage:
    """Stage of a train phase."""
    return 'supervised' if phase.supervised else 'semi'


def _check_choice(key: str, value: Any, allowed: Iterable[str]) -> None:
    if value not in allowed:
        raise UserError(f'{key}={value!r} is not one of {tuple(allowed)}')


def _check_split(content: Any, task: Task) -> None:
    sizes = {'ratio': 'one in `ratio` images is labeled, e.g. 20', 'num_labeled': 'set the number of labeled images'}
    check_keys('dmt.split', content, SplitSettings.model_fields.keys() - sizes.keys() | {task.split_size})
    if content.get(task.split_size) is None:
        raise UserError(f'dmt.split.{task.split_size} is missing: {sizes[task.split_size]}')

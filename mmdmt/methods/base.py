"""What single-stage methods share: a wrapper around an untouched stock model."""

import copy
import inspect
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmdmt.config_dicts import copy_config
from mmdmt.core.consistency import Average, warm_momentum
from mmdmt.errors import UserError
from mmdmt.losses.whole_batch import average_of_processes
from mmdmt.methods.arguments import in_range
from mmdmt.methods.networks import (
    HEADS,
    average_into,
    check_network,
    features_given,
    logits_of,
    map_features,
    no_gradient,
    predicts_pixels,
)
from mmdmt.methods.view_preprocessor import ViewPreprocessor

IGNORED = 255


class View(NamedTuple):
    """A view of a batch: ``images`` float [N, 3, H, W], normalized, and their data samples."""

    images: Tensor
    samples: list

    @property
    def valid(self) -> Tensor:
        """Where the images are no padding: bool [N, H, W].

        Images that carry a label map (``MarkValid``) are padding where it is 255. The others are where the data
        preprocessor has padded them.
        """
        height, width = self.images.shape[2:]
        masks = []
        for sample in self.samples:
            if 'gt_sem_seg' in sample:
                masks.append(sample.gt_sem_seg.data[0] != IGNORED)
            else:
                left, right, top, bottom = sample.metainfo.get('padding_size', (0, 0, 0, 0))
                size = (height - top - bottom, width - left - right)
                inside = torch.ones(size, dtype=torch.bool, device=self.images.device)
                masks.append(F.pad(inside, (left, right, top, bottom)))
        return torch.stack(masks)


class SemiSupervised(BaseModel):
    """A semi-supervised method around a stock segmentor or classifier, which trains in one phase.

    A method implements ``loss(self, labeled, ...)``. The names of its arguments are the views that it needs: the
    transform ``Views`` of the pipelines gives them. Validation, export and ``forward`` use the predictor, an ordinary
    stock model: the averaged teacher if there is one, else the student. A checkpoint of the stock model loads into all
    networks of the method.

    Args:
        model: Config of the stock model, the student.
        teacher_momentum: Share that the teacher, an average of the student, keeps of itself in a step, in (0, 1). None:
            no teacher.
        warm: Let the average follow faster at first (:func:`~mmdmt.core.consistency.warm_momentum`).
        average_buffers: Average the statistics of batch norm too. Needed if the teacher is in evaluation mode.

    Raises:
        UserError: if the model cannot be wrapped (with the reason), or an argument is out of its range.
    """

    tasks: ClassVar[tuple[str, ...]] = ('segmentation', 'classification')
    """What the method is for."""
    teacher_trains: ClassVar[bool] = False
    """Whether the teacher is in training mode while the student trains: batch norm uses the batch, dropout drops."""

    def __init__(
        self, model: Mapping, teacher_momentum: float | None = None, warm: bool = True, average_buffers: bool = True
    ) -> None:
        student = self._build(model)
        super().__init__(data_preprocessor=ViewPreprocessor(student.data_preprocessor))
        self.student = student
        self.progress = 0.0
        self.whole_batch = False
        self.momentum, self.warm, self.average_buffers = teacher_momentum, warm, average_buffers
        self.teacher: nn.Module | None = None
        if teacher_momentum is not None:
            self._check_range('above 0 and below 1', teacher_momentum=teacher_momentum)
            self.teacher = copy.deepcopy(student).requires_grad_(False)
            self.register_buffer('averaged', torch.zeros((), dtype=torch.int64))
        self._register_load_state_dict_pre_hook(self._load_stock)

    # What a method uses

    def loss(self, labeled: View) -> dict[str, Tensor]:
        """Compute the losses of a step from its views; a method adds its own views and losses."""
        return self.supervised_loss(labeled)

    def supervised_loss(
        self, labeled: View, weight: float = 1.0, network: nn.Module | None = None
    ) -> dict[str, Tensor]:
        """Compute the losses of the stock model (the student by default), auxiliary heads included, times a weight."""
        network = self.student if network is None else network
        losses = network.loss(labeled.images, labeled.samples)
        return {key: _scaled(value, weight) if 'loss' in key else value for key, value in losses.items()}

    def logits(self, network: nn.Module, view: View | Tensor) -> Tensor:
        """Compute the logits of a view, [N, C, H, W] at the size of the images, or [N, C] of a classifier."""
        return logits_of(network, view.images if isinstance(view, View) else view)

    def joint(self, network: nn.Module, labeled: View, images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Compute the losses on labeled images, and the logits of ``images``, which begin with these images.

        One pass of the backbone serves both, so batch norm normalizes labeled and unlabeled images together.
        """
        features = network.extract_feat(images)
        with features_given(network, map_features(features, lambda values: values[: len(labeled.images)])):
            losses = self.supervised_loss(labeled, network=network)
        with features_given(network, features):
            return losses, self.logits(network, images)

    def frozen_logits(self, network: nn.Module, view: View | Tensor) -> Tensor:
        """The same as :meth:`logits`, without gradient, in float32."""
        with no_gradient():
            return self.logits(network, view).float()

    def valid(self, view: View) -> Tensor | None:
        """Where the images of a view are no padding; None for a classifier."""
        return view.valid if self.pixels else None

    @property
    def average(self) -> Average | None:
        """Average of a scalar over the processes that share a batch; None if this process has the whole batch.

        The losses of :mod:`mmdmt.core.consistency` divide by the average number of valid pixels. In a train phase,
        :class:`~mmdmt.engine.hooks.WholeBatchHook` sets ``whole_batch``.
        """
        return average_of_processes if self.whole_batch else None

    @property
    def pixels(self) -> bool:
        """Whether the method trains a segmentor."""
        return predicts_pixels(self.student)

    # What the engine uses

    @property
    def predictor_prefix(self) -> str:
        """Prefix of the predictor's weights in the state dict; an export strips it."""
        return 'student.' if self.teacher is None else 'teacher.'

    @property
    def predictor(self) -> nn.Module:
        """The network that is validated and exported."""
        return self.get_submodule(self.predictor_prefix[:-1])

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the views that ``loss`` needs."""
        return tuple(inspect.signature(self.loss).parameters)

    def set_progress(self, progress: float) -> None:
        """Set the progress of the training, from 0 at its first step to 1 at its last one."""
        self.progress = progress

    def after_step(self) -> None:
        """Average the student into the teacher; called after each step of the optimizer."""
        if self.teacher is None or self.momentum is None:
            return
        momentum = warm_momentum(self.averaged, self.momentum) if self.warm else self.momentum
        average_into(self.teacher, self.student, momentum, self.average_buffers)
        self.averaged += 1

    # What mmengine uses

    def forward(
        self, inputs: Tensor | None = None, data_samples: list | None = None, mode: str = 'tensor', **views: dict
    ) -> Any:
        """Compute the losses of views (mode ``loss``), or let the predictor predict ``inputs``."""
        if mode != 'loss':
            return self.predictor(inputs, data_samples, mode)
        missing = [name for name in self.views if name not in views]
        if missing:
            raise UserError(
                f'{type(self).__name__} needs the view {missing[0]!r}; the pipelines give '
                f'{", ".join(map(repr, views)) or "none"} (see the transform Views)'
            )
        return self.loss(
            **{name: View(views[name]['inputs'], views[name].get('data_samples') or []) for name in self.views}
        )

    def train(self, mode: bool = True) -> 'SemiSupervised':
        """Set the mode of all networks; a teacher that only labels stays in evaluation mode."""
        super().train(mode)
        if self.teacher is not None and not self.teacher_trains:
            self.teacher.eval()
        return self

    def init_weights(self) -> None:
        """Initialize the student (mmengine calls this before training); the teacher starts as its copy."""
        if self.teacher is not None:
            self.teacher.is_init = True
        super().init_weights()
        if self.teacher is not None:
            self.teacher.load_state_dict(self.student.state_dict())

    # Helpers of methods and of this class

    def _build(self, model: Mapping) -> nn.Module:
        """Build a stock network, or refuse it."""
        name = type(self).__name__
        if not isinstance(model, Mapping):
            raise UserError(f'{name}: model must be the config of a stock model, got {model!r}')
        network = MODELS.build(ConfigDict(copy_config(model)))  # mmseg reads its test_cfg by attribute
        if isinstance(network, SemiSupervised):
            raise UserError(f'{name}: model is already a method, {type(network).__name__}')
        check_network(network)
        task = 'segmentation' if predicts_pixels(network) else 'classification'
        if task not in self.tasks:
            raise UserError(f'{name} is a method for {" and ".join(self.tasks)}; its model is for {task}')
        return network

    def _check(self, correct: bool, allowed: str, **argument: Any) -> None:
        """Refuse an argument of the method."""
        if not correct:
            ((name, value),) = argument.items()
            raise UserError(f'{type(self).__name__}: {name}={value!r} must be {allowed}')

    def _check_range(self, allowed: str, **arguments: Any) -> None:
        """Refuse arguments that are no numbers of a range in :data:`~mmdmt.methods.arguments.RANGES`."""
        for name, value in arguments.items():
            self._check(in_range(value, allowed), allowed, **{name: value})

    def _stock_networks(self) -> Iterable[tuple[str, bool]]:
        """Names of the networks that a stock checkpoint loads into, and whether they take its heads too."""
        return [('student', True), *([('teacher', True)] if self.teacher is not None else [])]

    def _load_stock(self, state_dict: dict, prefix: str, *_: Any) -> None:
        """Replace the weights of a stock model by those of all networks of the method."""
        given = [key for key in state_dict if key.startswith(prefix)]
        if any(key.startswith(f'{prefix}student.') for key in given):
            return
        stock = {key.removeprefix(prefix): state_dict.pop(key) for key in given}
        for name, heads in self._stock_networks():
            own = {} if heads else self.get_submodule(name).state_dict()
            for key, value in stock.items():
                kept = own.get(key) if key.startswith(HEADS) else None
                state_dict[f'{prefix}{name}.{key}'] = value if kept is None else kept
        networks = tuple(f'{name}.' for name, _ in self._stock_networks())
        for key, value in self.state_dict().items():
            if not key.startswith(networks):  # what only the method has stays as it is
                state_dict[prefix + key] = value


def joined(*views: View) -> Tensor:
    """Images of several views as one batch.

    Raises:
        UserError: if the views differ in size.
    """
    sizes = [tuple(view.images.shape[2:]) for view in views]
    if len(set(sizes)) > 1:
        raise UserError(
            f'images of different views must have one size to be one batch, got {sizes}: pad them to the size of the '
            'crops with `size` of the data_preprocessor'
        )
    return torch.cat([view.images for view in views])


def prefixed(prefix: str, losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """The losses of another network, with a prefix of their names."""
    return {prefix + key: value for key, value in losses.items()}


def _scaled(value: Any, weight: float) -> Any:
    return [item * weight for item in value] if isinstance(value, list) else value * weight


def labels_of(view: View) -> Tensor:
    """Labels of the images of a classifier's view: int64 [N]."""
    return torch.cat([sample.gt_label for sample in view.samples]).to(view.images.device)


def others(values: Tensor) -> Tensor:
    """Give each image of a batch the values [N, ...] of another one, its predecessor.

    Raises:
        UserError: with fewer than two images.
    """
    if len(values) < 2:
        raise UserError('images are mixed with others of their batch: unlabeled_per_batch must be at least 2, got 1')
    return values.roll(1, 0)

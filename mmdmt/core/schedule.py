"""The phases of a DMT run, their order and their inputs (arXiv 2004.08514, Alg. 1 and 2)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Scheme = Literal['mutual', 'self', 'chain', 'single']

MODELS_OF_SCHEME = {'mutual': 2, 'self': 1, 'chain': 1, 'single': 1}
MODEL_NAME = re.compile(r'[a-z][a-z0-9_-]*')


@dataclass(frozen=True)
class Phase:
    """One step of a run: it trains one model, or labels the unlabeled set with one.

    ``name``: iteration, kind and model, such as '00_train_a', '01_label_a', '01_train_b'.
    ``model``: the student of a train phase, the teacher of a label phase.
    ``init``: the train phase whose checkpoint a train phase starts from, or a label phase labels with. None means the
    model's own initial weights.
    ``labels``: the label phase whose pseudo labels a train phase uses. None for label phases, in iteration 0 (labeled
    data only), and for scheme 'single' (the method labels its own batches).
    ``label_ratio``: share of the pseudo labels that this iteration uses, in (0, 1]; None in iteration 0 and for
    'single'.
    """

    name: str
    kind: Literal['train', 'label']
    iteration: int
    model: str
    init: str | None = None
    labels: str | None = None
    label_ratio: float | None = None

    @property
    def supervised(self) -> bool:
        """Whether the phase trains on labeled data only."""
        return self.kind == 'train' and self.iteration == 0

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the phases that must be complete before this one."""
        return tuple(name for name in (self.init, self.labels) if name is not None)

    @property
    def teacher(self) -> str | None:
        """Name of the model that made the pseudo labels of this train phase; None without pseudo labels."""
        return None if self.labels is None else self.labels.removeprefix(_name(self.iteration, 'label', ''))


def plan(
    scheme: Scheme,
    models: Sequence[str],
    label_ratios: Sequence[float],
    reinitialise: bool = False,
    baseline: bool = True,
) -> list[Phase]:
    """List the phases of a run, each after its inputs.

    'mutual' (two models a, b; Alg. 1): in iteration i, a of iteration i-1 labels for b, and b of i-1 labels for a. Each
    model fine-tunes from its own i-1. 'self' (one model, ablation DST of Tab. 7): it labels for itself and fine-tunes.
    'chain' (one model, classification, Alg. 2): it labels for a successor that trains from a new initialization.
    'single' (one model, a method of :mod:`mmdmt.methods`): one phase on labeled and unlabeled images, without labels on
    disk.

    Args:
        scheme: 'mutual', 'self', 'chain' or 'single'.
        models: unique model names, each ``[a-z][a-z0-9_-]*``; two for 'mutual', one for the others.
        label_ratios: share of the pseudo labels that iteration 1, 2, ... uses, strictly increasing in (0, 1]; none for
            'single'.
        reinitialise: train from a new initialization in each iteration, as 'chain' always does, instead of fine-tuning.
        baseline: train on labeled data first; only 'single' works without.

    Raises:
        ValueError: an argument is not as above; the message names it and the allowed values.

    Example:
        >>> for phase in plan('mutual', ['a', 'b'], [1.0]):
        ...     print(phase.name, 'from', phase.init, 'with labels', phase.labels)
        00_train_a from None with labels None
        00_train_b from None with labels None
        01_label_a from 00_train_a with labels None
        01_train_b from 00_train_b with labels 01_label_a
        01_label_b from 00_train_b with labels None
        01_train_a from 00_train_a with labels 01_label_b
    """
    _check_scheme(scheme, models)
    if not baseline and scheme != 'single':
        raise ValueError(f"scheme {scheme!r} needs a baseline: only 'single' works without")
    phases = [Phase(_name(0, 'train', model), 'train', 0, model) for model in models if baseline]
    if scheme == 'single':
        if label_ratios:
            raise ValueError(f"scheme 'single' ranks no labels: it takes no label_ratios; got {list(label_ratios)}")
        init = phases[0].name if baseline and not reinitialise else None
        return [*phases, Phase(_name(1, 'train', models[0]), 'train', 1, models[0], init=init)]
    _check_ratios(label_ratios)
    for iteration, ratio in enumerate(label_ratios, start=1):
        for teacher, student in zip(models, reversed(models), strict=True):
            label = Phase(
                name=_name(iteration, 'label', teacher),
                kind='label',
                iteration=iteration,
                model=teacher,
                init=_name(iteration - 1, 'train', teacher),
                label_ratio=ratio,
            )
            train = Phase(
                name=_name(iteration, 'train', student),
                kind='train',
                iteration=iteration,
                model=student,
                init=None if reinitialise or scheme == 'chain' else _name(iteration - 1, 'train', student),
                labels=label.name,
                label_ratio=ratio,
            )
            phases += [label, train]
    return phases


def _name(iteration: int, kind: str, model: str) -> str:
    return f'{iteration:02d}_{kind}_{model}'


def _check_scheme(scheme: str, models: Sequence[str]) -> None:
    if scheme not in MODELS_OF_SCHEME:
        raise ValueError(f'scheme must be one of {tuple(MODELS_OF_SCHEME)}; got {scheme!r}')
    if isinstance(models, str):
        raise ValueError(f'models must be a list of model names; got the string {models!r}')
    for model in models:
        if not isinstance(model, str) or not MODEL_NAME.fullmatch(model):
            raise ValueError(f'a model name must match {MODEL_NAME.pattern}; got {model!r}')
    if len(set(models)) != len(models):
        raise ValueError(f'model names must be unique; got {list(models)}')
    wanted = MODELS_OF_SCHEME[scheme]
    if len(models) != wanted:
        raise ValueError(f'scheme {scheme!r} takes exactly {wanted} model name(s); got {len(models)}: {list(models)}')


def _check_ratios(label_ratios: Sequence[float]) -> None:
    if not label_ratios:
        raise ValueError('label_ratios must hold at least one ratio in (0, 1]; got none')
    previous = 0.0
    for ratio in label_ratios:
        if not 0 < ratio <= 1:
            raise ValueError(f'label_ratios must be in (0, 1]; got {ratio} in {list(label_ratios)}')
        if not ratio > previous:
            raise ValueError(f'label_ratios must be strictly increasing; got {ratio} in {list(label_ratios)}')
        previous = ratio

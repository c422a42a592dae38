"""Measures the quality of a segmentation run's pseudo labels on unlabeled images that have masks."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from mmengine import fileio
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import TRANSFORMS, init_default_scope
from torch import Tensor, nn

from mmdmt.analysis.label_check import evenly, resized
from mmdmt.analysis.label_quality import LabelQuality, Prediction
from mmdmt.analysis.trained_model import trained_model
from mmdmt.config_dicts import copy_config, merge
from mmdmt.core.confidence import decode, encode
from mmdmt.core.ranking import IGNORED
from mmdmt.core.schedule import Phase
from mmdmt.datasets.unlabeled import UnlabeledDataset
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.phase_inputs import PhaseInputs
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.run_data import RunData
from mmdmt.errors import MissingFileError, UserError
from mmdmt.labels.maps import LabelMaps


def why_not(plan: RunPlan) -> str | None:
    """Reason why a run cannot be analyzed; None if it can."""
    settings, scope = plan.settings, plan.cfg.get('default_scope', 'mmseg')
    if scope != 'mmseg':
        return f'default_scope={scope!r}: the analysis supports segmentation runs only'
    if settings.scheme == 'single':
        return "dmt.scheme='single' has no pseudo labels of a teacher to analyze"
    if settings.reinitialise or settings.scheme == 'chain':
        return "dmt.reinitialise or dmt.scheme='chain': a student with new weights cannot weigh labels yet"
    return None


def has_masks(cfg: Config) -> bool:
    """Whether the unlabeled images of a DMT config have masks; the first one is looked at."""
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    plan = RunPlan.of(cfg)
    with TemporaryDirectory() as folder:
        data = RunData(plan, Path(cfg.work_dir).resolve())
        data.prepare(Path(folder) / 'splits')
        dataset = data.dataset(next(iter(data.models.values())).unlabeled, 'dmt.unlabeled')
        path = dataset.get_data_info(0).get('seg_map_path')
    return bool(path) and fileio.exists(path)


def check_mask(info: dict) -> None:
    """Raise FileNotFoundError for an unlabeled image without a mask."""
    path = info.get('seg_map_path')
    if not path or not fileio.exists(path):
        raise MissingFileError(
            f'unlabeled image {info["img_path"]} has no mask ({path}): the analysis needs the true labels of the '
            'unlabeled images; set their prefix with --masks (data_prefix.seg_map_path of dmt.unlabeled)'
        )


class Analysis:
    """Analysis of a finished or partly finished DMT run.

    It covers each phase that trained, or is about to train, on pseudo labels. The phase's teacher makes the labels
    again, equal to the first time. The run's own loss computes their weights, with the student as it was when the
    phase began. Both use no augmentation. The run is not changed.

    Args:
        cfg: The config of the run, with its ``work_dir``.
        masks: Prefix of the masks of the unlabeled images (``data_prefix.seg_map_path``), if the config has none.

    Raises:
        FileNotFoundError: if there is no run, no phase to analyze yet, or no masks of the unlabeled images.
        ValueError: if the run has another config or cannot be analyzed.
    """

    def __init__(self, cfg: Config, masks: str | None = None) -> None:
        self.plan = RunPlan.of(cfg)
        reason = why_not(self.plan)
        if reason is not None:
            raise UserError(reason)
        init_default_scope('mmseg')
        self.manifest = Manifest(Path(cfg.work_dir).resolve(), self.plan.phases)
        if not self.manifest.path.is_file():
            raise MissingFileError(f'{self.manifest.work_dir} holds no DMT run (no dmt.json): set its --work-dir')
        self.manifest.check(cfg, resume=True)
        self.phases = [phase for phase in self.manifest.phases if phase.labels and not self.manifest.missing(phase)]
        if not self.phases:
            raise MissingFileError(f'{self.manifest.work_dir}: no label phase is complete yet')
        data = RunData(self.plan, self.manifest.work_dir)
        data.prepare(self.manifest.work_dir / 'splits')
        PhaseInputs(self.manifest, data).require_same()
        where = {} if masks is None else dict(data_prefix=dict(seg_map_path=masks))
        self.datasets = {
            model: UnlabeledDataset(copy_config(merge(own.unlabeled, where)), own.label_pipeline)
            for model, own in data.models.items()
        }

    def run(self, images: int) -> dict[str, Any]:
        """Analyze ``images`` evenly spaced unlabeled images (all, if there are fewer).

        Returns:
            ``images``: number of images; ``label_ratios``, ``classes``: what the entries of the lists below refer to;
            ``phases``: name of the train phase -> ``iteration``, ``teacher``, ``student``, ``label_ratio``,
            ``accuracy_by_ratio`` and the content of ``LabelQuality.figures``.
        """
        if images < 1:
            raise UserError(f'images must be at least 1, got {images}')
        first = next(iter(self.datasets.values()))
        indices = evenly(len(first), images)
        for idx in indices:
            check_mask(first.dataset.get_data_info(idx))
        qualities: dict[str, LabelQuality] = {}
        for iteration in sorted({phase.iteration for phase in self.phases}):
            qualities.update(self._iteration([p for p in self.phases if p.iteration == iteration], indices))
        return dict(
            images=len(indices),
            label_ratios=list(self.plan.settings.label_ratios),
            classes=list(first.metainfo.get('classes') or range(next(iter(qualities.values())).num_classes)),
            phases={phase.name: self._figures(phase, qualities[phase.name]) for phase in self.phases},
        )

    @torch.no_grad()
    def _iteration(self, phases: Sequence[Phase], indices: Sequence[int]) -> dict[str, LabelQuality]:
        """Analyze all directions of an iteration together: their students and teachers are the same models."""
        teacher_of = {phase.name: self._start_of_labels(phase) for phase in phases}
        names = {*teacher_of.values(), *(str(phase.init) for phase in phases)}
        models = {name: trained_model(self.plan, self.manifest, self._train(name), 'semi') for name in names}
        qualities = {
            phase.name: LabelQuality(self.plan.num_classes(phase.model), self._thresholds(phase, phase.label_ratio))
            for phase in phases
        }
        first = next(iter(self.datasets.values()))
        for idx in indices:
            logits = {
                name: _logits(model, self.datasets[self._train(name).model][idx]) for name, model in models.items()
            }
            true_label = _true_label(first.dataset.get_data_info(idx))
            for phase in phases:
                student = logits[str(phase.init)]
                half = self.plan.settings.label_writer.get('half', False)
                label, code = encode(logits[teacher_of[phase.name]], half)
                thresholds = qualities[phase.name].thresholds
                selected = torch.where(code >= thresholds[label.long()], label.long(), IGNORED)
                loss = models[str(phase.init)].dynamic_loss
                weight = loss.weigh(student, selected, decode(code), ignore_index=IGNORED).weight
                truth = resized(true_label, label.shape[1:])
                prediction = Prediction.of(student, label.long())
                qualities[phase.name].update(truth[None], label, code, prediction, weight)
        return qualities

    def _figures(self, phase: Phase, quality: LabelQuality) -> dict[str, Any]:
        ratios = self.plan.settings.label_ratios
        return dict(
            iteration=phase.iteration,
            teacher=phase.teacher,
            student=phase.model,
            label_ratio=phase.label_ratio,
            accuracy_by_ratio=[quality.accuracy(self._thresholds(phase, ratio)) for ratio in ratios],
            **quality.figures(),
        )

    def _start_of_labels(self, phase: Phase) -> str:
        """Train phase whose model made the labels of a phase."""
        return next(str(label.init) for label in self.manifest.phases if label.name == phase.labels)

    def _train(self, name: str) -> Phase:
        """The train phase of a name."""
        return next(phase for phase in self.manifest.phases if phase.name == name)

    def _thresholds(self, phase: Phase, ratio: float | None) -> Tensor:
        """Thresholds of the run itself, from all its unlabeled images."""
        assert phase.labels is not None and ratio is not None
        thresholds = LabelMaps(self.manifest.folder(phase.labels)).histogram().thresholds(ratio)
        return torch.from_numpy(thresholds.astype(np.int64))


def _logits(model: nn.Module, sample: dict) -> Tensor:
    """Logits of an image at its own size, float32 [1, C, H, W], the same that its labels are made from."""
    (prediction,) = model.test_step(pseudo_collate([sample]))
    return prediction.seg_logits.data[None].float().cpu()


def _true_label(info: dict) -> Tensor:
    """Human-labeled class map, int64 [H, W]."""
    mask = TRANSFORMS.build(dict(type='LoadAnnotations')).transform({**info, 'seg_fields': []})['gt_seg_map']
    return torch.from_numpy(mask.astype(np.int64))

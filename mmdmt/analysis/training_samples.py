"""Shows what the training pipeline of a phase feeds to its model: images with labels and confidences."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATA_SAMPLERS, DATASETS, init_default_scope

from mmdmt.analysis import pictures
from mmdmt.analysis.document import Grid, Picture, Section
from mmdmt.analysis.snapshots import shown
from mmdmt.config_dicts import copy_config
from mmdmt.core.dynamic_weight import HUMAN
from mmdmt.core.ranking import IGNORED
from mmdmt.datasets.views import view_names
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.run_data import RunData
from mmdmt.errors import UserError
from mmdmt.labels.stores import holds_labels


def training_set(cfg: Config, phase: str | None, work_dir: Path, split_dir: Path) -> tuple[str, Any, Iterator[int]]:
    """Dataset of a phase, and the indices in the order in which its training draws them.

    Args:
        cfg: A DMT config, or an ordinary one.
        phase: Name of a train phase; default: the last one whose labels exist.
        work_dir: Work dir of the run, which holds the pseudo labels.
        split_dir: Where the lists of a ``dmt.split`` are written.

    Returns:
        Name of the phase (empty for an ordinary config), its dataset, and endless indices.

    Raises:
        UserError: if there is no such phase, if its labels are not there, or if an ordinary config trains nothing.
    """
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    if 'dmt' not in cfg:
        if not cfg.get('train_dataloader'):
            raise UserError('the config has no train_dataloader, so there is nothing to browse')
        dataset = DATASETS.build(copy_config(cfg.train_dataloader['dataset']))
        return '', dataset, iter(range(len(dataset)))
    plan = RunPlan.of(cfg)
    data = RunData(plan, work_dir)
    data.prepare(split_dir)
    name = _chosen(plan, Manifest(work_dir, plan.phases), phase)
    loader = data.phases[name].config.train_dataloader.to_dict()
    dataset = DATASETS.build(loader['dataset'])
    sampler = DATA_SAMPLERS.build(loader['sampler'], default_args=dict(dataset=dataset))
    return name, dataset, iter(sampler)


def _chosen(plan: RunPlan, manifest: Manifest, name: str | None) -> str:
    """The train phase to show."""
    trains = [phase for phase in plan.phases if phase.kind == 'train']
    there = [
        phase
        for phase in trains
        if phase.labels is None or (manifest.is_complete(phase.labels) and holds_labels(manifest.folder(phase.labels)))
    ]
    if name is None:
        return there[-1].name
    if name not in [phase.name for phase in trains]:
        raise UserError(f'--phase {name!r} is not one of {", ".join(phase.name for phase in trains)}')
    if name not in [phase.name for phase in there]:
        raise UserError(
            f'phase {name} has no pseudo labels on disk: they were not made yet, or were deleted after use '
            '(dmt.keep_labels=True keeps them)'
        )
    return name


def sample_sheet(name: str, dataset: Any, indices: Iterator[int], number: int) -> Section:
    """A contact sheet of the first ``number`` samples of a training.

    Raises:
        UserError: if a sample has no image.
    """
    meta = dataset.metainfo
    classes = [str(item) for item in meta.get('classes') or ()]
    colors = pictures.palette_of(meta.get('palette'), max(len(classes), 1))
    rows: list[list[Picture | str]] = []
    seen: set[int] = set()
    for index in islice(indices, number):
        sample = dataset[index]
        for view in view_names(sample):
            own = sample if 'inputs' in sample else sample[view]
            title = f'{int(index)}' + ('' if view == 'labeled' else f' {view}')
            rows.append([title, *_cells(own, classes, colors, seen)])
    legend = [((255, 255, 255), 'ignored'), *((colors[i], classes[i]) for i in sorted(seen) if i < len(classes))]
    caption = (
        'Index in the data set; image; label; confidence of the teacher (dark 0, bright 1; white: a human labeled).'
    )
    title = f'Training samples of {name}' if name else 'Training samples'
    return Section(title, (), [Grid(['', 'image', 'label', 'confidence'], rows, caption, legend if seen else ())])


def _cells(
    sample: Any, classes: Sequence[str], colors: Sequence[pictures.Color], seen: set[int]
) -> list[Picture | str]:
    """Image, label and confidence of a packed sample."""
    if 'inputs' not in sample:
        raise UserError(f'a training sample has no inputs, but {", ".join(sample)}: its pipeline must end with a Pack*')
    found = sample['data_samples']
    image = Picture(pictures.photo(shown(sample['inputs'], _in_memory(found))), str(found.get('img_path', '')))
    if 'gt_sem_seg' in found:
        label = found.gt_sem_seg.data[0].numpy()
        seen.update(int(value) for value in np.unique(label) if value != IGNORED)
        more = pictures.palette_of(colors, max([len(colors), *(value + 1 for value in seen)]))
        cells: list[Picture | str] = [image, Picture(pictures.class_picture(label, more), 'label')]
        if 'gt_confidence' in found:
            cells.append(_confidence(found.gt_confidence, label))
        return cells
    if 'gt_label' in found:
        index = int(found.gt_label.flatten()[0])
        name = classes[index] if index < len(classes) else str(index)
        confidence = float(found.gt_confidence) if 'gt_confidence' in found else HUMAN
        return [image, name, 'human' if confidence >= HUMAN else f'{confidence:.4f}']
    return [image, 'none']


def _confidence(confidence: Any, label: np.ndarray) -> Picture:
    values = (confidence.data if hasattr(confidence, 'data') else confidence).numpy().reshape(label.shape)
    human = (values >= HUMAN) | (label == IGNORED)
    return Picture(pictures.weight_picture(values, np.where(human, IGNORED, 0)), 'confidence')


def _in_memory(found: Any) -> bool:
    """Whether an image was in memory: its path is a name only, or none."""
    path = str(found.get('img_path', ''))
    return '://' not in path and not Path(path).is_file()

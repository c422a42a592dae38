"""Keeps what some unlabeled images look like to a model at the end of a train phase, as small files in the work dir.

``WORK_DIR/pictures/NAME.*`` and ``NAME_truth.png`` are of an image. Of a phase, ``PHASE/pictures/`` holds, for pixels,
``NAME_label.png``, ``NAME_weight.png`` and ``NAME_prediction.png``; ``snapshot.json`` lists the images. For whole
images, it also holds label, confidence, weight and prediction.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor

from mmdmt.analysis import pictures
from mmdmt.analysis.label_check import LOADERS, evenly, resized, true_map
from mmdmt.analysis.trained_model import trained_model
from mmdmt.config_dicts import copy_config, first_pipeline, type_name
from mmdmt.core.confidence import decode
from mmdmt.core.ranking import IGNORED
from mmdmt.core.schedule import Phase
from mmdmt.datasets.unlabeled import UnlabeledDataset
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.run_data import RunData
from mmdmt.engine.settings import stage_of
from mmdmt.errors import UserError
from mmdmt.files import write_json
from mmdmt.labels.maps import LabelMaps
from mmdmt.labels.table import LabelTable

SNAPSHOT = 'snapshot.json'
FOLDER = 'pictures'
MAPS, IMAGES = 4, 12
"""Number of images of segmentation, and of classification."""


class Snapshot:
    """Takes the pictures of one train phase.

    Args:
        plan: The run.
        manifest: Its state.
        data: Its prepared data.
        phase: A complete train phase, whose labels still exist.
    """

    def __init__(self, plan: RunPlan, manifest: Manifest, data: RunData, phase: Phase) -> None:
        self.plan, self.manifest, self.phase = plan, manifest, phase
        own = data.models[phase.model]
        self.dataset = UnlabeledDataset(
            copy_config(own.unlabeled), copy_config(own.label_pipeline or _test(plan, phase))
        )
        self.train_pipeline = own.train_pipeline
        self.folder = manifest.folder(phase.name) / FOLDER
        self.common = manifest.work_dir / FOLDER
        classes = plan.num_classes(phase.model)
        self.colors = pictures.palette_of(self.dataset.metainfo.get('palette'), classes)

    @torch.no_grad()
    def take(self) -> None:
        """Write all files; ``snapshot.json`` last."""
        maps = self.plan.task.store == 'maps'
        model = trained_model(self.plan, self.manifest, self.phase, stage_of(self.phase))
        indices = evenly(len(self.dataset), MAPS if maps else IMAGES)
        one = self._pixels if maps else self._image
        labels = None if maps or not self.phase.labels else self._table()
        rows = [one(model, idx, labels) for idx in indices]
        write_json(self.folder / SNAPSHOT, dict(images=rows))

    def _pixels(self, model: Any, idx: int, _: Any) -> dict[str, Any]:
        name, sample = self.dataset.name(idx), self.dataset[idx]
        info = self.dataset.dataset.get_data_info(idx)
        pictures.store(self.common, name, pictures.photo(shown(sample['inputs'], 'img' in info)))
        (predicted,) = model.test_step(pseudo_collate([sample]))
        logits = predicted.seg_logits.data[None].float().cpu()
        truth = true_map(info, self.train_pipeline)
        if truth is not None:
            self._map(self.common, f'{name}_truth', truth.numpy())
        self._map(self.folder, f'{name}_prediction', predicted.pred_sem_seg.data[0].cpu().numpy())
        if self.phase.labels:
            self._labels(model, name, logits)
        return dict(name=name)

    def _map(self, folder: Path, name: str, label: np.ndarray) -> None:
        pictures.store(folder, name, pictures.class_picture(label, self.colors))

    def _labels(self, model: Any, name: str, logits: Tensor) -> None:
        """Pictures of the pseudo label of an image, and of the weights that its loss gives now."""
        store = LabelMaps(self.manifest.folder(str(self.phase.labels)))
        label, code = store.read(name)
        selected = np.where(code >= np.array(store.info()['thresholds'])[label], label, np.uint8(IGNORED))
        self._map(self.folder, f'{name}_label', selected)
        size = logits.shape[2:]
        target, confidence = (resized(torch.from_numpy(part.astype(np.int64)), size) for part in (selected, code))
        weight = model.dynamic_loss.weigh(logits, target[None], decode(confidence[None]), ignore_index=IGNORED).weight
        pictures.store(self.folder, f'{name}_weight', pictures.weight_picture(weight[0].numpy(), target.numpy()))

    def _table(self) -> dict[str, tuple[int, float, bool]]:
        """Name -> label, log-odds, and whether the phase uses it."""
        rows = LabelTable(self.manifest.folder(str(self.phase.labels))).rows()
        kept = LabelTable.select_rows(rows, self.phase.label_ratio or 1, self.plan.settings.ranking).indices
        used = {rows[index].name for index in kept}
        return {row.name: (row.label, row.log_odds, row.name in used) for row in rows}

    def _image(self, model: Any, idx: int, labels: Mapping[str, tuple[int, float, bool]] | None) -> dict[str, Any]:
        name, sample = self.dataset.name(idx), self.dataset[idx]
        info = self.dataset.get_data_info(idx)
        pictures.store(self.common, name, pictures.photo(shown(sample['inputs'], 'img' in info)))
        (predicted,) = model.test_step(pseudo_collate([sample]))
        score = predicted.pred_score.float().cpu()
        row = dict(name=name, prediction=int(score.argmax()), probability=float(score.max()))
        truth = info.get('true_label')
        if truth is not None:
            row['truth'] = int(truth)
        if labels is not None and name in labels:
            label, log_odds, used = labels[name]
            confidence = torch.tensor([log_odds]).sigmoid()
            weight = model.dynamic_loss.weigh(score.log()[None], torch.tensor([label]), confidence).weight
            row.update(label=label, confidence=float(confidence), used=used, weight=float(weight))
        return row


def shown(inputs: Tensor, in_memory: bool) -> np.ndarray:
    """A packed image, [C, H, W] with values to 255, as uint8 [H, W, 3] in RGB.

    The toolboxes decode files as BGR. Data sets that hold their images in memory hold them as RGB.
    """
    pixels = inputs.cpu().numpy().clip(0, 255).round().astype(np.uint8).transpose(1, 2, 0)
    if pixels.shape[2] != 3:
        return np.repeat(pixels[..., :1], 3, axis=2)
    return np.ascontiguousarray(pixels if in_memory else pixels[..., ::-1])


def _test(plan: RunPlan, phase: Phase) -> Sequence:
    """The pipeline of the validation or test images, without annotations: a method has none for labels.

    Raises:
        UserError: if there is neither.
    """
    config = plan.configs[phase.model][None]
    for subset in ('val', 'test'):
        dataset = (config.get(f'{subset}_dataloader') or {}).get('dataset')
        if dataset:
            return [step for step in first_pipeline(dataset) if type_name(step) not in LOADERS]
    raise UserError(
        'no pipeline loads images for prediction: the config has neither val_dataloader nor test_dataloader'
    )

"""Predicts images that no data set lists: single files, folders or lists of files."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.device import get_device
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner.checkpoint import load_state_dict
from PIL import Image

from mmdmt.analysis import pictures
from mmdmt.analysis.label_check import LOADERS
from mmdmt.analysis.snapshots import shown
from mmdmt.config_dicts import copy_config, first_pipeline, type_name, without_pretrained
from mmdmt.engine.phase_config import final_config
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.result import predictor_of
from mmdmt.errors import MissingFileError, UserError
from mmdmt.files import atomic, write_text
from mmdmt.untrusted import load_checkpoint

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


@dataclass(frozen=True)
class Predictor:
    """A model with what it needs to predict image files.

    ``pipeline`` loads an image; ``classes`` and ``palette`` are those of its data set, as far as it has any.
    """

    model: Any
    pipeline: Compose
    classes: Sequence[str]
    palette: Sequence[Sequence[int]] | None
    of_pixels: bool

    @classmethod
    def of(cls, cfg: Config, checkpoint: str | Path) -> 'Predictor':
        """Build the model of a config, of DMT or an ordinary one, with the weights of a checkpoint.

        Raises:
            MissingFileError, UserError: if the checkpoint does not exist or has other tensors than the model, or if the
                config does not say how to load images.
        """
        if not Path(checkpoint).is_file():
            raise MissingFileError(f'checkpoint {checkpoint} does not exist')
        init_default_scope(cfg.get('default_scope', 'mmseg'))
        content = load_checkpoint(checkpoint)
        if 'dmt' in cfg:
            plan = RunPlan.of(cfg)
            name = content.get('meta', {}).get('dmt', {}).get('model', next(iter(plan.settings.models)))
            cfg = final_config(plan, name)
        dataset = _dataset(cfg)
        meta = _metainfo(dataset, content)
        pipeline = [copy_config(step) for step in first_pipeline(dataset) if type_name(step) not in LOADERS]
        model = _model(cfg, predictor_of(content)['state_dict'], str(checkpoint))
        classes = [str(name) for name in meta.get('classes') or ()]
        of_pixels = cfg.get('default_scope', 'mmseg') == 'mmseg'
        return cls(model, Compose(pipeline), classes, meta.get('palette'), of_pixels)

    @torch.no_grad()
    def predict(self, path: Path) -> tuple[np.ndarray, Any]:
        """Predict an image file.

        Returns:
            The image as the model sees it, uint8 [H, W, 3] in RGB, and the data sample of the toolbox.

        Raises:
            UserError: if the image cannot be read; names it.
        """
        try:
            sample = self.pipeline(dict(img_path=str(path), reduce_zero_label=False, seg_fields=[], sample_idx=0))
        except Exception as error:  # whatever a transform raises about a bad file
            raise UserError(f'image {path} cannot be read: {type(error).__name__}: {error}') from error
        (found,) = self.model.test_step(pseudo_collate([sample]))
        return shown(sample['inputs'], in_memory=False), found


def _dataset(cfg: Config) -> dict:
    for subset in ('test', 'val'):
        dataset = (cfg.get(f'{subset}_dataloader') or {}).get('dataset')
        if dataset:
            return dataset
    raise UserError('the config has neither test_dataloader nor val_dataloader, so nothing says how to load images')


def _metainfo(dataset: dict, checkpoint: dict) -> dict:
    """Classes and palette: of the config, of the type of the data set, or of the checkpoint, without reading data."""
    while 'dataset' in dataset or dataset.get('datasets'):
        dataset = dataset['dataset'] if 'dataset' in dataset else dataset['datasets'][0]
    with DATASETS.switch_scope_and_registry(None) as registry:
        known = getattr(registry.get(str(dataset.get('type'))), 'METAINFO', None) or {}
    stored = checkpoint.get('meta', {}).get('dataset_meta') or {}
    own = dataset.get('metainfo') or {}
    return {**known, **stored, **{key: value for key, value in own.items() if value}}


def _model(cfg: Config, weights: dict, checkpoint: str) -> Any:
    own = without_pretrained(cfg.model.to_dict() if hasattr(cfg.model, 'to_dict') else cfg.model)
    if cfg.get('data_preprocessor') is not None:
        own.setdefault('data_preprocessor', copy_config(cfg.data_preprocessor))
    model = MODELS.build(Config(dict(model=own)).model)
    expected, given = model.state_dict().keys(), weights.keys()
    lacking, more = [name for name in expected if name not in given], [name for name in given if name not in expected]
    if lacking or more:
        raise UserError(
            f'{checkpoint} does not fit the model of the config: {len(lacking)} tensors are missing, {len(more)} are '
            f'unexpected (e.g. {", ".join([*lacking[:2], *more[:2]])})'
        )
    load_state_dict(model, weights, logger='silent')
    return model.to(get_device()).eval()


def list_images(source: Path) -> list[tuple[Path, Path]]:
    """Images and the places of their predictions below the output folder.

    Args:
        source: An image; a folder, which is searched with all folders in it; or a text file with a path a line,
            relative to the folder of the list.

    Raises:
        MissingFileError, UserError: if the source or an image of a list does not exist, or if there is no image.
    """
    if source.is_dir():
        found = sorted(path for path in source.rglob('*') if path.suffix.lower() in SUFFIXES and path.is_file())
        images = [(path, path.relative_to(source)) for path in found]
    elif source.suffix.lower() in SUFFIXES:
        images = [(source, Path(source.name))]
    elif source.is_file():
        images = [_listed(source, line.strip()) for line in source.read_text().splitlines() if line.strip()]
    else:
        images = [(source, source)]
    missing = [path for path, _ in images if not path.is_file()]
    if missing:
        raise MissingFileError(
            f'{missing[0]} does not exist' + (f', nor do {len(missing) - 1} more' if missing[1:] else '')
        )
    if not images:
        raise UserError(f'{source} holds no image ({", ".join(SUFFIXES)})')
    return images


def _listed(source: Path, line: str) -> tuple[Path, Path]:
    place = Path(*(part for part in Path(line).parts if part not in ('..', Path(line).anchor)))
    return source.parent / line, place


def write_predictions(predictor: Predictor, images: Sequence[tuple[Path, Path]], out: Path) -> Iterator[Path]:
    """Predict images one after the other, and yield each when its files are written.

    Segmentation writes ``masks/`` (class maps, 8 bits), ``overlays/`` and ``confidence/`` (0 to 255), each with the
    folders of the images. Classification writes ``predictions.csv``.

    Raises:
        UserError: if two images would get one file.
    """
    targets: dict[Path, Path] = {}
    for path, place in images:
        other = targets.setdefault(place.with_suffix(''), path)
        if other != path:
            raise UserError(f'the predictions of {other} and {path} would both be {place.with_suffix(".png")}')
    rows = []
    for path, place in images:
        image, found = predictor.predict(path)
        if predictor.of_pixels:
            _write_maps(predictor, image, found, out, place.with_suffix('.png'))
        else:
            score = found.pred_score.float().cpu()
            best = int(score.argmax())
            name = predictor.classes[best] if best < len(predictor.classes) else ''
            rows.append([place.as_posix(), str(best), name, f'{float(score[best]):.6f}'])
        yield path
    if rows:
        write_text(out / 'predictions.csv', _csv([['image', 'label', 'class', 'confidence'], *rows]))


def _write_maps(predictor: Predictor, image: np.ndarray, found: Any, out: Path, place: Path) -> None:
    label = found.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8)
    logits = found.seg_logits.data.float().cpu()
    probability = logits.softmax(0).amax(0) if len(logits) > 1 else (logits[0].sigmoid() - 0.5).abs() + 0.5
    colors = pictures.palette_of(predictor.palette, max(len(predictor.classes), int(label.max()) + 1))
    _write(out / 'masks' / place, Image.fromarray(label))
    _write(out / 'confidence' / place, Image.fromarray((255 * probability.numpy()).round().astype(np.uint8)))
    if image.shape[:2] != label.shape:  # a pipeline that resizes: the prediction has the size of the file
        image = np.asarray(Image.fromarray(image).resize(label.shape[::-1]))
    _write(out / 'overlays' / place.with_suffix('.jpg'), Image.fromarray(pictures.overlay(image, label, colors)))


def _write(path: Path, image: Image.Image) -> None:
    with atomic(path) as file:
        image.save(file, format='JPEG' if path.suffix == '.jpg' else 'PNG')


def _csv(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO(newline='')
    csv.writer(text, lineterminator='\n').writerows(rows)
    return text.getvalue()

"""What is checked before the first training step, so that a mistake costs seconds and not hours."""

import io
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from mmengine import fileio
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import CheckpointLoader
from mmengine.utils import is_abs
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from mmdmt.datasets.transforms import IGNORE_INDEX, REFUSED_TRANSFORMS
from mmdmt.datasets.unlabeled import UnlabeledDataset

WORKERS = 4


def build_dataset(config: Mapping, key: str) -> Any:
    """Build a dataset, having looked for the files and folders it names.

    Raises:
        FileNotFoundError: naming the config key and the path that does not exist.
        ValueError: if the dataset is empty, or if a training pipeline has a transform that is refused.
    """
    for part_key, part in _parts(config, key):
        if key.startswith('dmt.'):
            # Before anything is built: a refused transform may need a package that is not installed.
            check_pipeline(part.get('pipeline') or (), f'{part_key}.pipeline')
        root = part.get('data_root') or ''
        paths = {'ann_file': part.get('ann_file'), **(part.get('data_prefix') or {})}
        for name, value in paths.items():
            if not value or (name == 'seg_map_path' and part_key.startswith('dmt.unlabeled')):
                continue
            path = value if is_abs(value) or '://' in value else str(Path(root) / value)
            if not fileio.exists(path):
                raise FileNotFoundError(
                    f'{part_key}: {name} {path!r} does not exist; set data_root (now {root!r}) to where the data '
                    'lies. The README says how its folders must look'
                )
    try:
        dataset = DATASETS.build(_plain(config))
        dataset.full_init()
    except ValueError as error:
        # What mmengine's BaseDataset says where it has nothing to serialize.
        if 'at least one array to concatenate' not in str(error):
            raise
        dataset = ()
    if len(dataset) == 0:
        raise ValueError(f'{key} lists no image ({_list_name(config)})')
    return dataset


def _plain(config: Any) -> Any:
    """A deep copy of plain dicts and lists: building something must not change its config."""
    if isinstance(config, Mapping):
        return {name: _plain(value) for name, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_plain(value) for value in config)
    return config


def _parts(config: Mapping, key: str) -> Iterable[tuple[str, Mapping]]:
    parts = config.get('datasets')
    if parts is None:
        yield key, config
    else:
        for index, part in enumerate(parts):
            yield from _parts(part, f'{key}.datasets.{index}')


def _list_name(config: Mapping) -> str:
    return ' and '.join(str(part.get('ann_file') or part.get('data_prefix')) for _, part in _parts(config, ''))


def image_paths(dataset: Any) -> list[str]:
    """Paths of all images of a dataset."""
    return [dataset.get_data_info(idx)['img_path'] for idx in range(len(dataset))]


def check_disjoint(labeled: Sequence[str], unlabeled: Sequence[str]) -> None:
    """Refuse an image that is labeled and unlabeled at once.

    Raises:
        ValueError: naming some of them, and how many there are.
    """
    shared = sorted(set(labeled) & set(unlabeled))
    if shared:
        shown = ', '.join(shared[:3])
        raise ValueError(f'dmt.labeled and dmt.unlabeled share {len(shared)} of their images: {shown}')


def check_labeled(dataset: Any, key: str, classes: int) -> None:
    """Check every image and mask of a labeled dataset: they exist, have one size, and hold no unknown class.

    Raises:
        FileNotFoundError: if an image or mask does not exist, or the dataset names no mask, naming the image.
        ValueError: if sizes differ or a label is neither a class nor 255, naming the file and the values.
    """
    names = dataset.metainfo.get('classes')
    if names is not None and len(names) != classes:
        raise ValueError(f'{key} has {len(names)} classes where the model has num_classes={classes}')
    infos = [dataset.get_data_info(idx) for idx in range(len(dataset))]
    with ThreadPoolExecutor(WORKERS) as pool:
        # list() brings the first error here, in the order of the images.
        list(pool.map(lambda info: _check_pair(info, key, classes), infos))


def _check_pair(info: dict, key: str, classes: int) -> None:
    mask_path = info.get('seg_map_path')
    size = image_size(info['img_path'], key)
    if not mask_path or not fileio.exists(mask_path):
        raise FileNotFoundError(f'{key}: image {info["img_path"]} has no mask at {mask_path!r}')
    info = {**info, 'seg_fields': []}
    try:
        LoadAnnotations().transform(info)
    except (OSError, SyntaxError) as error:  # Pillow's errors on broken files
        raise ValueError(f'{key}: mask {mask_path} cannot be read ({error})') from None
    mask = info['gt_seg_map']
    if mask.shape != size:
        raise ValueError(
            f'{key}: mask {mask_path} is {mask.shape} (height, width) where its image {info["img_path"]} is {size}'
        )
    unknown = [int(value) for value in np.unique(mask) if value >= classes and value != IGNORE_INDEX]
    if unknown:
        raise ValueError(
            f'{key}: mask {mask_path} holds label(s) {unknown}; allowed are 0..{classes - 1} and {IGNORE_INDEX} '
            '(ignored)'
        )


def image_size(path: str, key: str) -> tuple[int, int]:
    """Height and width of an image file.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it cannot be read as an image.
    """
    if not fileio.exists(path):
        raise FileNotFoundError(f'{key}: image {path} does not exist')
    try:
        with Image.open(path if Path(path).is_file() else io.BytesIO(fileio.get(path))) as image:
            return image.height, image.width
    except OSError as error:
        raise ValueError(f'{key}: {path} cannot be read as an image ({error})') from None


def check_images(dataset: Any, key: str) -> None:
    """Check that every image of an unlabeled dataset exists and can be read.

    Raises:
        FileNotFoundError, ValueError: naming the file.
    """
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(lambda path: image_size(path, key), image_paths(dataset)))


def check_pipeline(pipeline: Sequence[Any], key: str) -> None:
    """Refuse transforms that would silently part the confidence from its label map.

    Raises:
        ValueError: naming the transform and why.
    """
    for transform in pipeline:
        if isinstance(transform, list | tuple):  # the alternatives of RandomChoice
            check_pipeline(transform, key)
            continue
        name = transform.get('type') if isinstance(transform, Mapping) else type(transform).__name__
        if name in REFUSED_TRANSFORMS:
            raise ValueError(f'{key}: transform {name} cannot be used with DMT: {REFUSED_TRANSFORMS[name]}')
        if isinstance(transform, Mapping) and transform.get('backend') == 'pillow':
            raise ValueError(f"{key}: transform {name} needs backend='cv2': pillow cannot resize confidences")
        if isinstance(transform, Mapping):
            check_pipeline(transform.get('transforms') or (), key)


def check_sample(dataset: Any, key: str) -> None:
    """Load one image through the training pipeline.

    Raises:
        ValueError: if the pipeline does not give the label map with its confidence.
    """
    sample = dataset[0]
    if not isinstance(sample, Mapping) or 'gt_confidence' not in sample.get('data_samples', ()):
        raise ValueError(f'{key}.pipeline must load with LoadDMTAnnotations and end with PackDMTInputs')


def check_unlabeled_sample(dataset: Any, label_pipeline: Sequence, train_pipeline: Sequence, classes: int) -> None:
    """Load one unlabeled image as it is loaded to be labeled, and, with an empty label, as it is trained on.

    Raises:
        ValueError: if a pipeline fails or does not give what it should, naming its config key.
    """
    sample = _load_unlabeled(dataset, label_pipeline, 'dmt.label_pipeline')
    if 'sample_idx' not in sample.metainfo:
        raise ValueError('dmt.label_pipeline must end with PackDMTInputs')
    empty = dict(store=_EmptyLabels(sample.ori_shape), name='', thresholds=np.zeros(classes, np.int64))
    sample = _load_unlabeled(dataset, train_pipeline, 'dmt.unlabeled.pipeline', pseudo_label=empty)
    if 'gt_confidence' not in sample:
        raise ValueError('dmt.unlabeled.pipeline must load with LoadDMTAnnotations and end with PackDMTInputs')


def _load_unlabeled(dataset: Any, pipeline: Sequence, key: str, **extra: Any) -> Any:
    try:
        images = UnlabeledDataset(dataset, pipeline)
        return images.pipeline({**images.get_data_info(0), **extra})['data_samples']
    except Exception as error:
        raise ValueError(f'{key} fails on the first unlabeled image: {type(error).__name__}: {error}') from error


class _EmptyLabels:
    """In place of a label store: every image is class 0, at the lowest confidence."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape

    def read(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(self.shape, np.uint8), np.zeros(self.shape, np.uint16)

    def label_path(self, name: str) -> str:
        return '(one that dmt.label_pipeline leads to)'


def check_model(config: Mapping, key: str) -> Any:
    """Build a model, so that a head that cannot be served is refused now.

    Raises:
        ValueError: from the model, with the reason.
    """
    try:
        return MODELS.build(_plain(config))
    except (ValueError, TypeError, KeyError, AssertionError) as error:
        raise ValueError(f'{key}: the model cannot be built: {error}') from error


def check_weights(config: Mapping, key: str, weights_help: str, model: Any) -> None:
    """Check that all initial weights are there and fit, downloading those that are named by a URL or a model zoo.

    Raises:
        FileNotFoundError: naming the file and where to get it.
        ValueError: if no tensor of ``load_from`` fits the model.
    """
    load_from = config.get('load_from')
    for source in [load_from, *_pretrained(config.get('model'))]:
        if not source:
            continue
        if '://' not in source and not Path(source).is_file():
            raise FileNotFoundError(f'{key}: initial weights {source!r} do not exist. {weights_help}'.rstrip())
        try:
            checkpoint = CheckpointLoader.load_checkpoint(source, map_location='cpu')
        except Exception as error:
            raise FileNotFoundError(
                f'{key}: initial weights {source!r} cannot be loaded ({type(error).__name__}: {error}). '
                f'{weights_help} Without a network, download them elsewhere and put them into the cache of torch.hub '
                '(~/.cache/torch/hub/checkpoints), or name a local file.'
            ) from error
        if source == load_from:
            _check_fit(checkpoint.get('state_dict', checkpoint), model, f'{key}.load_from={source!r}')


def _check_fit(state_dict: Mapping, model: Any, key: str) -> None:
    own = model.state_dict()
    fitting = [name for name, value in state_dict.items() if name in own and own[name].shape == value.shape]
    if not fitting:
        raise ValueError(
            f'{key}: none of its {len(state_dict)} tensors fits the model (first: {next(iter(state_dict), None)!r}; '
            f'the model has e.g. {next(iter(own))!r}): is it a checkpoint of this model, converted if need be?'
        )


def _pretrained(node: Any) -> list[str]:
    if isinstance(node, Mapping):
        own = [node['checkpoint']] if node.get('type') == 'Pretrained' and node.get('checkpoint') else []
        own += [node['pretrained']] if isinstance(node.get('pretrained'), str) else []
        return own + [source for value in node.values() for source in _pretrained(value)]
    if isinstance(node, list | tuple):
        return [source for value in node for source in _pretrained(value)]
    return []

"""Run configs of the paper's segmentation experiments through all their phases, cut short, on a folder of few images.

    python tests/run_configs.py FOLDER [--voc data/VOCdevkit/VOC2012] [--only NAME ...]

FOLDER gets data in the layouts of docs/data.md: VOC from the images of ``--voc`` (made smaller; without it, generated),
Cityscapes generated; and files in the places and formats of the pre-trained weights, with random content, so that they
are loaded as the real ones are. What a config is cut down to is in ``cut_short``; models, phases and everything else
are as shipped. One line a config: time and state. A second call goes on with what is not done.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner.checkpoint import get_external_models, get_torchvision_models
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run from a clone, installed or not

from mmdmt.config_dicts import stock_model
from mmdmt.core.splits import nested_split
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.settings import DMTSettings
from mmdmt.seg.voc_lists import ORIGINAL
from tools import convert_coco_deeplabv2, make_splits

IMAGE, CROP = 96, 64  # longest sides, for 500 and 321 pixels of VOC, 1,024 and 512 of Cityscapes
RATIO = 7.0  # so few images cannot be split by 20 or more
CITYSCAPES_SIZE = (IMAGE // 2, IMAGE)
CITYSCAPES_CLASSES = 19


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--voc', type=Path, help='a VOC2012 folder, of which the first images are taken')
    parser.add_argument('--only', nargs='+', default=[''], help='run configs whose path holds one of these')
    return parser.parse_args()


def configs(only: list[str]) -> list[Path]:
    """All configs of VOC and Cityscapes, by path."""
    paths = [
        path for path in sorted((ROOT / 'configs').glob('*/*.py')) if path.parent.name not in ('_base_', 'experiments')
    ]
    names = [str(path.relative_to(ROOT / 'configs')) for path in paths]
    return [
        path
        for path, name in zip(paths, names, strict=True)
        if ('_voc_' in name or name.endswith('_voc.py') or 'cityscapes' in name) and any(text in name for text in only)
    ]


def cut_short(cfg: Config) -> None:
    """One or two steps a phase, one validation image, images of 96 and crops of 64 pixels, one in 7 images labeled."""
    _shrink(cfg._cfg_dict)
    cfg.val_dataloader.dataset.indices = cfg.test_dataloader.dataset.indices = 1
    if 'runner_type' not in cfg:
        end = cfg.train_cfg.max_iters
        cfg.train_cfg.update(max_iters=1, val_interval=1)
        for scheduler in cfg.param_scheduler:
            scheduler.end = 1 if scheduler.end == end else scheduler.end
        return
    # Two steps where one is the warm-up.
    warm_up = [_end_warm_up(part.get('param_scheduler', ())) for part in (cfg, *cfg.dmt.models.values())]
    steps = 2 if any(warm_up) else 1
    for kind in (cfg.dmt, *cfg.dmt.models.values()):
        for name in ('supervised', 'semi'):
            if name in kind:
                kind[name].iters = steps
    if cfg.dmt.get('split'):
        cfg.dmt.split.ratio = RATIO


def _end_warm_up(schedulers: Any) -> bool:
    """End a warm-up after one step; whether there is one."""
    length = max((scheduler.begin for scheduler in schedulers), default=0)
    for scheduler in schedulers:
        for key in ('begin', 'end'):
            if length and scheduler[key] == length:
                scheduler[key] = 1
    return length > 0


def _shrink(node: Any) -> None:
    if isinstance(node, Mapping):
        for name, longest in (('scale', IMAGE), ('crop_size', CROP), ('size', CROP)):
            size = node.get(name)
            if isinstance(size, list | tuple) and all(isinstance(side, int) for side in size):
                node[name] = tuple(side * longest // max(size) for side in size)  # type: ignore[index]
        if 'num_workers' in node:
            node.update(num_workers=0, persistent_workers=False)  # type: ignore[attr-defined]
        node = list(node.values())
    if isinstance(node, list | tuple):
        for value in node:
            _shrink(value)


def write_voc(folder: Path, source: Path | None) -> None:
    """A VOC2012 folder: 20 training images of VOC, 8 of SBD, 2 validation images."""
    lists = {'train': 20, 'aug': 8, 'val': 2}
    pairs: dict[str, list[tuple[str, Image.Image, Image.Image]]] = {}
    for subset, number in lists.items():
        pairs[subset] = list(_voc_pairs(source, subset, number))
    for subset, images in pairs.items():
        for name, image, mask in images:
            size = [round(side * IMAGE / max(image.size)) for side in image.size]
            _save(image.resize(size), folder / f'JPEGImages/{name}.jpg')
            mask = mask.resize(size, Image.Resampling.NEAREST)
            for masks in ('SegmentationClassAug', 'SegmentationClass')[: 1 if subset == 'aug' else 2]:
                _save(mask, folder / masks / f'{name}.png')
    names = {subset: [name for name, *_ in images] for subset, images in pairs.items()}
    names['trainaug'] = sorted(names['train'] + names['aug'])
    for subset, lines in names.items():
        _write_lines(folder / f'ImageSets/Segmentation/{subset}.txt', lines)
    for ratio in make_splits.RATIOS['voc']:
        _write_lines(folder / f'splits/{ratio}_labeled_0.txt', nested_split(names['trainaug'], RATIO, 0)[0])
    labeled, unlabeled = names['train'][:4], names['train'][4:] + names['aug']
    for number in ORIGINAL:
        for part, own in (('labeled', labeled), ('unlabeled', unlabeled)):
            lines = [f'JPEGImages/{name}.jpg SegmentationClassAug/{name}.png' for name in own]
            _write_lines(folder / f'splits/pascal/{number}/{part}.txt', lines)


def _voc_pairs(source: Path | None, subset: str, number: int) -> Iterator[tuple[str, Image.Image, Image.Image]]:
    if source is None:
        rng = np.random.default_rng(len(subset))
        for index in range(number):
            image, mask = rng.integers(0, 256, (72, IMAGE, 3), np.uint8), rng.integers(0, 21, (72, IMAGE), np.uint8)
            yield f'{subset}_{index:04d}', Image.fromarray(image), Image.fromarray(mask)
        return
    masks = source / ('SegmentationClassAug' if subset == 'aug' else 'SegmentationClass')
    names = (source / f'ImageSets/Segmentation/{subset}.txt').read_text().split()
    for name in names[:number]:
        yield name, Image.open(source / f'JPEGImages/{name}.jpg'), Image.open(masks / f'{name}.png')


def write_cityscapes(folder: Path) -> None:
    """A Cityscapes folder: 28 training images of two cities, 2 validation images, of 48 x 96 pixels."""
    rng = np.random.default_rng(0)
    subsets = {
        'train': [f'{city}/{city}_{n:06d}_000019' for city in ('aachen', 'bochum') for n in range(14)],
        'val': [f'lindau/lindau_{n:06d}_000019' for n in range(2)],
    }
    for subset, names in subsets.items():
        for name in names:
            image = rng.integers(0, 256, (*CITYSCAPES_SIZE, 3), np.uint8)
            mask = rng.integers(0, CITYSCAPES_CLASSES, CITYSCAPES_SIZE, np.uint8)
            mask[:2] = 255
            _save(Image.fromarray(image), folder / f'leftImg8bit/{subset}/{name}_leftImg8bit.png')
            _save(Image.fromarray(mask), folder / f'gtFine/{subset}/{name}_gtFine_labelTrainIds.png')
    for ratio in make_splits.RATIOS['cityscapes']:
        _write_lines(folder / f'splits/{ratio}_labeled_0.txt', nested_split(subsets['train'], RATIO, 0)[0])


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def _write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join(lines) + '\n')


def write_coco_weights(folder: Path) -> None:
    """Convert a file of the layout of the COCO weights, for both numbers of classes."""
    generator = torch.Generator().manual_seed(0)
    source = folder / 'resnet101COCO-41f33a49.pth'
    state_dict = {
        # A plausible scale, so that no activation overflows; the same for every element of variances.
        name: torch.ones(shape) if len(shape) == 1 else torch.randn(shape, generator=generator) / shape[0] ** 0.5
        for name, shape in convert_coco_deeplabv2.layout()
    }
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state_dict, source, _use_new_zipfile_serialization=False)
    for data, classes in (('voc', 21), ('cityscapes', 19)):
        target = folder / f'deeplabv2_r101_coco_{data}.pth'
        convert_coco_deeplabv2.main([str(source), str(target), '--num-classes', str(classes)])
    source.unlink()


def models(cfg: Config) -> list[dict]:
    """The stock models of a config."""
    if 'runner_type' not in cfg:
        return [cfg.model.to_dict()]
    settings = DMTSettings.from_config(cfg)
    return [stock_model(RunPlan.of(cfg).configs[name][None]['model']) for name in settings.models]


def write_backbone_weights(backbone: Mapping, folder: Path) -> None:
    """A file for the pre-trained weights of a backbone; one to download is in the cache of torch.hub."""
    source = (backbone.get('init_cfg') or {}).get('checkpoint')
    if source is None:
        return
    path = folder / source
    if '://' in source:
        scheme, name = source.split('://')
        zoo = {'torchvision': get_torchvision_models, 'open-mmlab': get_external_models}.get(scheme)
        path = folder / 'torch/hub/checkpoints' / (zoo()[name] if zoo else source).rsplit('/', 1)[-1]
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(MODELS.build({**backbone, 'init_cfg': None}).state_dict(), path)


def prepare(folder: Path, voc: Path | None) -> None:
    """Write data and weights, once."""
    if (folder / 'ready').exists():
        return
    write_voc(folder / 'data/VOCdevkit/VOC2012', voc)
    write_cityscapes(folder / 'data/cityscapes')
    write_coco_weights(folder / 'pretrained')
    (folder / 'ready').touch()


def run(path: Path, folder: Path) -> dict[str, Any]:
    """Run one config in ``folder``; what came of it."""
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    for model in models(cfg):
        write_backbone_weights(model['backbone'], folder)
    cut_short(cfg)
    name = f'{path.parent.name}_{path.stem}'
    script, work_dir, log = folder / f'{name}.py', folder / 'work_dirs' / name, folder / f'{name}.log'
    Config(cfg.to_dict(), format_python_code=False).dump(script)
    shutil.rmtree(work_dir, ignore_errors=True)
    start = time.perf_counter()
    with log.open('w') as output:
        command = [sys.executable, ROOT / 'tools/train.py', script.name, '--work-dir', work_dir]
        environment = {**os.environ, 'TORCH_HOME': str(folder / 'torch')}
        done = subprocess.run(command, cwd=folder, env=environment, stdout=output, stderr=output, check=False)
    result = dict(seconds=round(time.perf_counter() - start), rc=done.returncode)
    if 'runner_type' in cfg and done.returncode == 0:
        plan = json.loads((work_dir / 'dmt.json').read_text())['plan']
        result.update(phases=len(plan), complete=sum((work_dir / p['name'] / 'phase.json').is_file() for p in plan))
        assert (work_dir / 'best.pth').is_file()
    elif done.returncode == 0:
        assert (work_dir / 'iter_1.pth').is_file()
    shutil.rmtree(work_dir, ignore_errors=True)  # gigabytes of checkpoints
    return result


def main() -> None:
    args = parse_args()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    prepare(folder, args.voc and args.voc.resolve())
    results = folder / 'results.json'
    done = json.loads(results.read_text()) if results.is_file() else {}
    todo = configs(args.only)
    for path in todo:
        name = str(path.relative_to(ROOT / 'configs'))
        if done.get(name, {}).get('rc') != 0:
            done[name] = run(path, folder)
            results.write_text(json.dumps(done, indent=1))
        result = done[name]
        phases = f', {result["complete"]} of {result["phases"]} phases complete' if 'phases' in result else ''
        print(f'{name}: {"ok" if result["rc"] == 0 else "FAILED"} in {result["seconds"]} s{phases}', flush=True)
    mine = [done[str(path.relative_to(ROOT / 'configs'))] for path in todo]
    failed = sum(result['rc'] != 0 for result in mine)
    print(f'{len(mine)} configs, {failed} failed, {sum(result["seconds"] for result in mine) / 60:.0f} minutes')
    sys.exit(bool(failed))


if __name__ == '__main__':
    main()

"""What a training step of a config costs at its full size: time and memory, on random images."""

import gc
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, TRANSFORMS, init_default_scope

from mmdmt.analysis.measuring import Figure, Meter
from mmdmt.analysis.step_cost import Batch, training_step
from mmdmt.config_dicts import copy_config, dicts_of_type, without_pretrained
from mmdmt.core.dynamic_weight import HUMAN
from mmdmt.engine.phase_config import final_config
from mmdmt.engine.plan import RunPlan

FULL_SIZE = (
    'dmt/deeplabv2_voc_1_20.py',
    'dmt/deeplabv2_cityscapes_1_8.py',
    'dmt/deeplabv3plus_r101_voc_1_8.py',
    'dmt/segformer_mit-b2_voc_1_20.py',
    'dmt/upernet_swin_voc_1_8.py',
    'dmt/dinov2-b_voc_original_183.py',
    'dmt/wrn28-2_cifar10_4000.py',
    'fixmatch/deeplabv2_voc_1_20.py',
    'unimatch/deeplabv2_voc_1_20.py',
    'cross_pseudo/deeplabv2_voc_1_20.py',
)


def config_figures(configs: Path, meter: Meter, names: Iterable[str] = FULL_SIZE) -> list[Figure]:
    """Cost of a step of the last phase of configs, against a step of the stock model on as many images.

    Neither images nor weights are read: crops are random and have the size and number of the config. The note holds
    milliseconds and, on a GPU, the peak of its memory in MiB; in mixed precision (float16 on a GPU, bfloat16 on a CPU)
    as well.

    Args:
        configs: Folder of the configs.
        meter: What measures.
        names: Configs.
    """
    return [_figure(configs / name, name, meter) for name in names]


def _figure(path: Path, name: str, meter: Meter) -> Figure:
    cfg = Config.fromfile(path)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    torch.manual_seed(0)
    np.random.seed(0)
    plan = RunPlan.of(cfg)
    model = next(iter(plan.settings.models))
    config, semi = plan.configs[model]['semi'], plan.settings.stage(plan.phases[-1])
    crop = next(dicts_of_type(copy_config(cfg.dmt.labeled), 'RandomCrop'))['crop_size']
    images = _Images(
        semi['labeled_per_batch'], semi['unlabeled_per_batch'], (crop, crop) if isinstance(crop, int) else tuple(crop),
        plan.num_classes(model), plan.task.store == 'maps',
    )  # fmt: skip
    own, optimizer = without_pretrained(config['model']), config['optim_wrapper']
    staged = plan.phases[-1].labels is not None
    batch = images.batch() if staged else images.views(MODELS.build(copy_config(own)).views)
    mixed = dict(optimizer, type='AmpOptimWrapper' if meter.device.type == 'cuda' else 'CPUAmpOptimWrapper')
    seconds, note = _cost(own, batch, optimizer, meter)
    _, note_mixed = _cost(own, batch, mixed, meter)
    ordinary, note_stock = _cost(final_config(plan, model)['model'], images.batch(), optimizer, meter)
    what = f'step of {name}, {images.labeled}+{images.unlabeled} images of {images.size[0]}x{images.size[1]}'
    note = f'{note}; mixed precision {note_mixed}; stock step {note_stock}'
    return Figure(what, 'step of its stock model on as many images', seconds / ordinary, note)


def _cost(model: Any, batch: Batch, optimizer: Any, meter: Meter) -> tuple[float, str]:
    """Seconds of a step, and a note of time and memory: network, optimizer and what a step needs."""
    gc.collect()
    before = 0
    if meter.device.type == 'cuda':
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    (seconds,) = meter.seconds(training_step(model, batch, optimizer, meter.device))
    peak = torch.cuda.max_memory_allocated() - before if meter.device.type == 'cuda' else 0
    return seconds, f'{1000 * seconds:.3g} ms' + (f', {peak / 2**20:.0f} MiB' if peak else '')


class _Images(NamedTuple):
    """Random images of a step: ``labeled`` and ``unlabeled`` ones of a ``size``, with labels of pixels or images."""

    labeled: int
    unlabeled: int
    size: tuple[int, int]
    classes: int
    pixels: bool

    def batch(self) -> Batch:
        """A batch of a staged method: unlabeled images have a label, with any confidence."""
        return self._part(self.labeled + self.unlabeled, labeled=True)

    def views(self, names: Iterable[str]) -> Batch:
        """A batch of a method of one phase."""
        parts = {name: name.startswith('labeled') for name in names}
        return {
            name: self._part(self.labeled if labeled else self.unlabeled, labeled) for name, labeled in parts.items()
        }

    def _part(self, number: int, labeled: bool) -> Batch:
        packed = [self._packed(labeled, human=index < self.labeled) for index in range(number)]
        return {key: [one[key] for one in packed] for key in packed[0]}

    def _packed(self, labeled: bool, human: bool) -> dict[str, Any]:
        found = dict(img=np.random.randint(256, size=(*self.size, 3), dtype=np.uint8), img_shape=self.size)
        shape = self.size if self.pixels else ()
        if labeled:
            confidence = np.full(shape, HUMAN) if human else np.random.rand(*shape)
            found.update(gt_confidence=np.asarray(confidence, dtype=np.float32)[()])
            found['gt_seg_map' if self.pixels else 'gt_label'] = np.random.randint(self.classes, size=shape or None)
        pack = TRANSFORMS.build(dict(type='PackDMTInputs'))  # of the toolbox
        return pack(found)

"""What a training step of DMT, and of each other method, costs beside a step of ordinary training."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from mmdmt.analysis.measuring import Figure, Meter, Work
from mmdmt.config_dicts import copy_config
from mmdmt.engine.phase_config import final_config
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.run_data import RunData
from mmdmt.errors import UserError

PASSES: dict[str, int | None] = {
    'dmt/fcn_digits.py': 6,
    'dmt/wrn10-1_digits.py': 8,
    'online_st/digits.py': None,
    'mean_teacher/digits.py': 7,
    'mean_teacher/digits_cls.py': 7,
    'cutmix_seg/digits.py': 8,
    'fixmatch/digits.py': 7,
    'fixmatch/digits_cls.py': 7,
    'unimatch/digits.py': 13,
    'unimatch/digits_v2.py': 10,
    'cross_pseudo/digits.py': 12,
    'cross_pseudo/digits_cls.py': 12,
    'cross_pseudo/digits_dmt.py': 12,
    'cross_pseudo/digits_cutmix.py': 16,
    'cct/digits.py': None,
    'mixmatch/digits_cls.py': 11,
    'dual_student/digits_cls.py': 16,
    'deep_co_training/digits_cls.py': 36,
}
"""Config of each method, and its passes of a step of n labeled and n unlabeled images: a forward pass of n images
counts 1, its backward pass 2. A supervised step on n images has 3. None: decoders dominate, or it depends on the data.
"""

Batch = dict[str, Any]
CLASSIFICATION = ('_cls.py', 'wrn10-1_digits.py')


class Steps(NamedTuple):
    """Steps of the last phase of a config, and of its stock model as if the images of ``labeled`` or ``all`` were."""

    own: Work
    labeled: Work
    all: Work


def method_figures(
    configs: Path, meter: Meter, work_dir: Path, pixels: int = 8, images: int = 64, names: Iterable[str] = PASSES
) -> list[Figure]:
    """Cost of a step of each method on n labeled and n unlabeled images, against a supervised step on n images.

    Args:
        configs: Folder of the configs.
        meter: What measures.
        work_dir: Folder for the lists of a split.
        pixels: n of segmentation.
        images: n of classification.
        names: Configs, of those in ``PASSES``.
    """
    figures = []
    for name in names:
        number = images if name.endswith(CLASSIFICATION) else pixels
        steps = read_steps(configs / name, meter.device, work_dir / name, number, number)
        own, supervised = meter.seconds(steps.own, steps.labeled)
        operations = _operations(steps.own) / _operations(steps.labeled)
        passes = PASSES[name]
        counted = '' if passes is None else f', passes {passes / 3:.2f}'
        note = f'{1000 * own:.3g} ms; operations {operations:.2f}{counted}'
        figures.append(Figure(f'step of {name}', 'supervised step on its labeled images', own / supervised, note))
    return figures


def dmt_figures(configs: Path, meter: Meter, work_dir: Path, sizes: Mapping[int, tuple[int, int]]) -> list[Figure]:
    """Cost of a step of DMT against a stock step with ``CrossEntropyLoss`` on the same batch.

    Args:
        configs: Folder of the configs.
        meter: What measures.
        work_dir: Folder for the lists of a split.
        sizes: Side of the images -> number of labeled and of pseudo-labeled ones.
    """
    figures = []
    for size, numbers in sizes.items():
        options = {'dmt.labeled.pipeline.2.scale': (size, size), 'dmt.labeled.pipeline.3.crop_size': (size, size)}
        steps = read_steps(configs / 'dmt/fcn_digits.py', meter.device, work_dir, *numbers, options)
        name = f'DMT step, FCN-R18, {sum(numbers)} images of {size}'
        figures.append(meter.figure(name, steps.own, 'stock step, CrossEntropyLoss', steps.all))
    return figures


def classification_figures(
    configs: Path, meter: Meter, work_dir: Path, labeled: int, unlabeled: int, sizes: Mapping[int, tuple[int, int]]
) -> list[Figure]:
    """Cost of a step of DMT with mixup, whose weights need a pass of their own, against mmpretrain's mixup step.

    Args:
        configs: Folder of the configs.
        meter: What measures.
        work_dir: Folder for the lists of a split.
        labeled: Number of labeled images.
        unlabeled: Number of pseudo-labeled ones.
        sizes: Side of the images -> depth and width of the wide ResNet.
    """
    figures = []
    for size, (depth, width) in sizes.items():
        options = {
            'model.backbone': dict(depth=depth, width=width),
            'model.head.in_channels': 64 * width,
            'dmt.labeled.pipeline': [dict(type='Resize', scale=size), dict(type='PackInputs')],
        }
        path = configs / 'dmt/wrn10-1_digits.py'
        steps = read_steps(path, meter.device, work_dir / str(size), labeled, unlabeled, options, mixup=0.75)
        name = f'DMT step with mixup, WRN-{depth}-{width}, {labeled + unlabeled} images of {size}'
        figures.append(meter.figure(name, steps.own, 'stock step with mixup', steps.all))
    return figures


def read_steps(
    path: Path,
    device: torch.device,
    work_dir: Path,
    labeled: int,
    unlabeled: int,
    options: Mapping[str, Any] | None = None,
    mixup: float | None = None,
) -> Steps:
    """Build the networks and a batch of the last phase of a config, where a phase on labeled images has the same size.

    For a staged method, whose pseudo labels would be on disk, the unlabeled images are labeled ones with a random
    confidence. ``mixup`` is the alpha of the stock model's mixup.
    """
    if not path.is_file():
        raise UserError(f'config {path} does not exist')
    cfg = Config.fromfile(path)
    numbers = {'dmt.semi.labeled_per_batch': labeled, 'dmt.semi.unlabeled_per_batch': unlabeled}
    cfg.merge_from_dict({**numbers, 'train_dataloader.batch_size': labeled + unlabeled, **(options or {})})
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    torch.manual_seed(0)
    data = RunData(RunPlan.of(cfg), work_dir)
    data.prepare(work_dir / 'splits')
    phase, staged = data.plan.phases[-1], data.plan.phases[-1].labels is not None
    config = data.plan.configs[phase.model]['semi']
    batch = _batch(data.phases[(data.plan.phases[0] if staged else phase).name].config)
    if staged:
        _label_by_teacher(batch['data_samples'][labeled:])
    few = {key: values[:labeled] for key, values in batch.items()} if staged else batch['labeled']
    stock = final_config(data.plan, phase.model)['model']
    if mixup is not None:
        stock.train_cfg = dict(augments=dict(type='Mixup', alpha=mixup))
        stock.data_preprocessor.num_classes = stock.head.num_classes
    pairs = ((config['model'], batch), (stock, few), (stock, batch if staged else few))
    return Steps(*(training_step(model, images, config['optim_wrapper'], device) for model, images in pairs))


def _batch(config: Config) -> Batch:
    loader = config.train_dataloader.copy()
    loader.update(num_workers=0, persistent_workers=False)
    return next(iter(Runner.build_dataloader(loader, seed=0)))


def _label_by_teacher(samples: list) -> None:
    """Turn human-labeled samples into ones that a teacher has labeled with any confidence."""
    for sample in samples:
        confidence = sample.gt_confidence
        if isinstance(confidence, torch.Tensor):
            sample.gt_confidence = torch.rand_like(confidence)
            sample.set_metainfo(dict(human_label=False))
        else:
            confidence.data = torch.rand_like(confidence.data)


def training_step(model: Any, batch: Batch, optimizer: Any, device: torch.device) -> Work:
    """A training step of a new network on a batch, the same one on and on."""
    network = MODELS.build(copy_config(model))
    network.init_weights()
    network.to(device).train()
    wrapper = build_optim_wrapper(network, copy_config(optimizer))

    def step() -> None:
        network.train_step(batch, wrapper)
        getattr(network, 'after_step', _nothing)()

    return step


def _operations(step: Work) -> int:
    """Operations of convolutions and linear layers in a step, backward passes included."""
    with _Operations() as counter:
        step()
    return counter.total


class _Operations(TorchDispatchMode):
    """Counts like torch's ``FlopCounterMode``, which fails where a method calls ``autograd.grad``."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


def _nothing() -> None:
    """What stock networks do after a step."""

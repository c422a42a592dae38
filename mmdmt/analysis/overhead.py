"""What DMT adds to ordinary training and labeling, beside the steps of :mod:`mmdmt.analysis.step_cost`."""

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, TRANSFORMS, init_default_scope
from mmengine.runner import IterBasedTrainLoop, TestLoop, ValLoop
from torch import Tensor
from torch.nn import functional as F

from mmdmt.analysis.measuring import Figure, Meter, resident_bytes
from mmdmt.config_dicts import copy_config
from mmdmt.core.confidence import encode
from mmdmt.core.dynamic_weight import HUMAN
from mmdmt.core.ranking import ClassHistogram
from mmdmt.engine.phase_sequence import PhaseSequence
from mmdmt.engine.runner import DMTRunner
from mmdmt.labels.map_writer import PseudoLabelWriter
from mmdmt.labels.maps import LabelMaps
from mmdmt.losses.dynamic_mutual_loss import DynamicMutualLoss, teacher_confidence

LABELED = 8
"""Images of which a label phase is measured."""
PUBLISHED_BYTES = 8
"""Bytes of a labeled pixel in the published code: label and confidence in float32."""


def loss_figures(meter: Meter, shapes: Sequence[tuple[int, ...]]) -> list[Figure]:
    """Time and memory of the dynamic loss, forward and backward, against cross-entropy, on random labels.

    Args:
        meter: What measures.
        shapes: Shapes of logits, [N, C, H, W].
    """
    figures = []
    for shape in shapes:
        generator = torch.Generator().manual_seed(0)
        logits = (3 * torch.randn(shape, generator=generator)).to(meter.device).requires_grad_()
        label = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator)
        label[:, : shape[2] // 16] = 255
        confidence = torch.rand(label.shape, generator=generator)
        confidence[: shape[0] // 8] = HUMAN
        label, confidence = label.to(meter.device), confidence.to(meter.device)
        dynamic = partial(_gradient, logits, partial(_dynamic_loss, DynamicMutualLoss(), logits, label, confidence))
        stock = partial(_gradient, logits, partial(F.cross_entropy, logits, label, ignore_index=255))
        name = f'DynamicMutualLoss, forward and backward, {list(shape)}'
        figures.append(meter.figure(name, dynamic, 'F.cross_entropy', stock))
        own, other = meter.peak_bytes(dynamic), meter.peak_bytes(stock)
        if own is not None and other:
            note = f'{own / 2**20:.0f} against {other / 2**20:.0f} MiB'
            figures.append(Figure(f'its peak memory, {list(shape)}', 'F.cross_entropy', own / other, note))
    return figures


def _dynamic_loss(loss: DynamicMutualLoss, logits: Tensor, label: Tensor, confidence: Tensor) -> Tensor:
    with teacher_confidence([('head', loss)], confidence):
        return loss(logits, label)


def _gradient(logits: Tensor, loss: Callable[[], Tensor]) -> None:
    loss().backward()
    logits.grad = None


def labeling_figures(configs: Path, meter: Meter, work_dir: Path, size: tuple[int, int], classes: int) -> list[Figure]:
    """Time to label an image of a size (height, width), as a whole and by part, against the network's prediction."""
    network, batch = _network(configs / 'dmt/fcn_digits.py', classes, meter.device), _image(size)
    writer = PseudoLabelWriter(classes, label_dir=str(work_dir / 'labels'), label_ratio=0.5)
    logits = simulated_logits(size, classes).to(meter.device)
    sample = dict(seg_logits=dict(data=logits[0]), img_path='image.jpg', sample_idx=0)
    label, code = (part[0].cpu() for part in encode(logits))
    codes, store = code.numpy().astype(np.uint16), LabelMaps(work_dir / 'parts')

    def predict() -> None:
        with torch.no_grad():
            network.test_step(batch)

    def predict_all() -> None:
        for _ in range(LABELED):
            predict()

    def whole() -> None:
        for _ in range(LABELED):
            predict()
            writer.process(batch, [sample])
        writer.background.finish()

    parts = dict(encode=partial(encode, logits), count=partial(writer.histogram.update, label, code))
    parts['write'] = partial(store.write, '0', label.numpy(), codes)
    name = f'of labels, {size[1]} x {size[0]}, {classes} classes'
    return [
        # Another thread writes the labels: this one takes wall time, and needs two free cores.
        meter.figure(f'prediction and writing {name}', whole, 'prediction alone, FCN-R18', predict_all, wall=True),
        *(meter.figure(f'{key} {name}', part, 'prediction alone, FCN-R18', predict) for key, part in parts.items()),
    ]


def simulated_logits(size: tuple[int, int], classes: int, seed: int = 0, smooth: bool = False) -> Tensor:
    """Logits [1, C, H, W] as networks give them: at an eighth of the size, enlarged bilinearly.

    They are noise; ``smooth`` ones, like those of trained networks, form areas of some 64 pixels, with less noise.
    """
    generator = torch.Generator().manual_seed(seed)

    def noise(step: int) -> Tensor:
        return torch.randn(1, classes, *(max(2, side // step) for side in size), generator=generator)

    small = 5 * noise(8)
    if smooth:
        small = small / 5 + F.interpolate(8 * noise(64), small.shape[2:], mode='bicubic')
    return F.interpolate(small, size, mode='bilinear')


def _network(path: Path, classes: int, device: torch.device) -> Any:
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    cfg.model.decode_head.num_classes = classes
    network = MODELS.build(copy_config(cfg.model) | dict(train_cfg=cfg.model.train_cfg, test_cfg=cfg.model.test_cfg))
    network.init_weights()
    return network.to(device).eval()


def _image(size: tuple[int, int]) -> dict[str, list]:
    """A batch of one image of random pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    pack = TRANSFORMS.build(dict(type='PackDMTInputs'))
    packed = pack(dict(img=pixels, img_path='image.jpg', img_shape=size, ori_shape=size, sample_idx=0))
    return {key: [value] for key, value in packed.items()}


def storage_figures(meter: Meter, work_dir: Path, size: tuple[int, int], classes: int) -> list[Figure]:
    """Space of a labeled pixel, and time to read an image's labels for training, against the published format."""
    figures = []
    for kind in ('noisy', 'smooth'):
        logits = simulated_logits(size, classes, smooth=kind == 'smooth')
        figures += _storage_figures(meter, work_dir / kind, kind, logits)
    return figures


def _storage_figures(meter: Meter, work_dir: Path, kind: str, logits: Tensor) -> list[Figure]:
    store, histogram = LabelMaps(work_dir), ClassHistogram(logits.shape[1])
    label, code = (part[0] for part in encode(logits))
    store.write('0', label.numpy(), code.numpy().astype(np.uint16))
    histogram.update(label, code)
    store.finish(histogram)
    published = work_dir / 'published.npy'
    np.save(published, np.zeros((2, *label.shape), np.float32))
    used = sum(path.stat().st_size for path in (store.label_path('0'), store.confidence_path('0'))) / label.numel()
    selection = store.select(['0'], 0.5)
    read = meter.figure(f'reading {kind} labels of an image', lambda: selection.fields(0, '0'), 'its .npy of float32',
                        lambda: np.load(published))  # fmt: skip
    return [
        Figure(f'bytes of a pixel, {kind} labels', 'published format', used / PUBLISHED_BYTES, f'{used:.2f} bytes'),
        read,
    ]


def ranking_figure(meter: Meter, pixels: int, classes: int) -> Figure:
    """Memory of ranking pixels by class, against their confidences in float32.

    The counts are those of normally distributed log-odds, each class as often as the others.
    """

    def rank() -> None:
        histogram = ClassHistogram(classes)
        codes = torch.arange(histogram.counts.shape[1])
        share = torch.exp(-(((codes - 0.4 * len(codes)) / (0.1 * len(codes))) ** 2))
        histogram.counts += (share / share.sum() * pixels / classes).round().long()
        histogram.thresholds(0.2)

    used = meter.peak_bytes(rank) or 0
    return Figure(f'memory of ranking {pixels:.0e} pixels', 'their confidences', used / (4 * pixels),
                  f'{used / 2**20:.0f} MiB')  # fmt: skip


def run_figures(configs: Path, work_dir: Path, options: Mapping[str, Any]) -> list[Figure]:
    """Processor time of a demo outside of the steps of training, labeling and validation.

    That of its phases, images that are loaded and the report included, and that before them: all data are checked.
    """
    cfg = Config.fromfile(configs / 'dmt/fcn_digits.py')
    cfg.merge_from_dict({'dmt.rehearse': False, 'log_level': 'ERROR', **options, 'work_dir': str(work_dir)})
    runner, start = DMTRunner(cfg), time.process_time()
    steps = [(loop, 'run_iter') for loop in (IterBasedTrainLoop, ValLoop, TestLoop)]
    with _clock((PhaseSequence, '_run')) as phases, _clock(*steps) as inside:
        runner.train()
    whole, outside = time.process_time() - start, sum(phases) - sum(inside)
    before = whole - sum(phases)
    return [
        Figure(
            'a phase outside its steps', 'whole phase', outside / sum(phases), f'{outside / len(phases):.2f} s a phase'
        ),
        Figure('checks before and work after the phases', 'whole run', before / whole, f'{before:.2f} s'),
    ]  # fmt: skip


def growth_figures(configs: Path, work_dir: Path, options: Mapping[str, Any]) -> list[Figure]:
    """Memory and open files of the process of a run (Linux): after its last phase, against after its first one."""
    cfg = Config.fromfile(configs / 'dmt/fcn_digits.py')
    cfg.merge_from_dict({'dmt.rehearse': False, 'log_level': 'ERROR', **options, 'work_dir': str(work_dir)})
    memory: list[int] = []
    files: list[int] = []
    run = PhaseSequence._run

    def noted(*args: Any) -> None:
        run(*args)
        gc.collect()
        memory.append(resident_bytes('VmRSS') >> 20)
        files.append(len(list(Path('/proc/self/fd').iterdir())))

    with mock.patch.object(PhaseSequence, '_run', noted):
        DMTRunner(cfg).train()
    return [
        Figure(f'{name} after {len(curve)} phases', 'after the first phase', curve[-1] / curve[0],
               f'{", ".join(map(str, curve))}{unit}')
        for name, curve, unit in (('memory', memory, ' MiB'), ('open files', files, ''))
    ]  # fmt: skip


@contextmanager
def _clock(*methods: tuple[type, str]) -> Iterator[list[float]]:
    """Collect the processor time of each call of methods."""
    spent: list[float] = []

    def timed(method: Callable) -> Callable:
        def run(*args: Any) -> None:
            start = time.process_time()
            method(*args)
            spent.append(time.process_time() - start)

        return run

    with ExitStack() as stack:
        for owner, name in methods:
            stack.enter_context(mock.patch.object(owner, name, timed(getattr(owner, name))))
        yield spent


def directions_figure(tool: Path, config: Path, work_dir: Path, options: Sequence[str]) -> Figure:
    """Wall time of the first phases of two models as two processes of one thread, against one after the other.

    It is worth something only where two cores are free.

    Args:
        tool: ``train.py``.
        config: A config of models ``a`` and ``b``.
        work_dir: Folder for the runs.
        options: Of the tool.
    """

    def start(folder: str, model: str) -> subprocess.Popen:
        command = [tool, config, '--work-dir', work_dir / folder, '--phase', f'00_train_{model}', *options]
        return subprocess.Popen([sys.executable, *map(str, command)], env=dict(os.environ, OMP_NUM_THREADS='1'),
                                stdout=subprocess.DEVNULL)  # fmt: skip

    def spent(*turns: Sequence[tuple[str, str]]) -> float:
        begin = time.perf_counter()
        for turn in turns:
            processes = [start(*job) for job in turn]
            statuses = [process.wait() for process in processes]
            if any(statuses):
                raise RuntimeError(f'{tool} failed; see above')
        return time.perf_counter() - begin

    one = spent([('one', 'a')], [('one', 'b')])
    both = spent([('both', 'a'), ('both', 'b')])
    return Figure('two directions as two processes', 'one after the other', both / one,
                  f'{one / both:.2f} times as fast; {both:.0f} s against {one:.0f} s')  # fmt: skip

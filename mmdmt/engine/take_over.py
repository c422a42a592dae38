"""Completes a first phase with a model that was trained elsewhere."""

import time
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.runner import Runner

from mmdmt.core.schedule import Phase
from mmdmt.engine.commit import write_record
from mmdmt.files import atomic
from mmdmt.untrusted import load_checkpoint, state_dict

CHECKPOINT = 'supervised.pth'


def take_over(runner_type: type[Runner], cfg: Config, phase: Phase, source: str) -> Runner:
    """Complete a phase with a checkpoint trained elsewhere: copy it into the run, validate it, commit it.

    Args:
        runner_type: Runner to validate with.
        cfg: Config of the phase, as for training.
        phase: A phase on labeled data only.
        source: The checkpoint.

    Returns:
        The runner that validated it.
    """
    start, folder = time.perf_counter(), Path(cfg.work_dir)
    if is_main_process():
        checkpoint = load_checkpoint(source)
        meta = {**checkpoint.get('meta', {}), 'dmt': dict(phase=phase.name, model=phase.model, seconds=0.0)}
        with atomic(folder / CHECKPOINT) as file:
            torch.save(dict(meta=meta, state_dict=state_dict(checkpoint)), file)
    barrier()
    cfg.merge_from_dict(dict(load_from=str(folder / CHECKPOINT), resume=False, custom_hooks=[]))
    runner = runner_type.from_cfg(cfg)
    metrics = runner.val() if cfg.get('val_dataloader') else {}
    if is_main_process():
        record = dict(phase=phase.name, model=phase.model, checkpoint=CHECKPOINT, taken_over=source)
        seconds = round(time.perf_counter() - start, 1)
        found = {key: float(value) for key, value in metrics.items()}
        write_record(folder, dict(record, seconds=seconds, metrics=found, metrics_last=found))
    barrier()
    return runner

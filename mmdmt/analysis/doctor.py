"""Checks whether a config can run here: packages, data, weights, disk, memory, device."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdmt.analysis.run_notes import versions
from mmdmt.config_dicts import dicts_in
from mmdmt.engine.disk_space import disk_space
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.report import class_table
from mmdmt.engine.run_data import RunData
from mmdmt.errors import UnwritableError, UserError, own_message
from mmdmt.files import check_folder, free_space, megabytes
from mmdmt.installation import TITLES, installed_family, installed_versions
from mmdmt.processors import crowded, processors

State = Literal['ok', 'warning', 'error']
LITTLE_MEMORY = 2 * 2**30


@dataclass(frozen=True)
class Finding:
    """One line of a diagnosis: ``what`` was looked at, what was ``found``, and a ``remedy`` for all but ``ok``."""

    state: State
    what: str
    found: str
    remedy: str = ''

    def __str__(self) -> str:
        return f'{self.state:8}{self.what}: {self.found}' + (f'. {self.remedy}' if self.remedy else '')


def diagnose(cfg: Config) -> Iterator[Finding]:
    """Look at everything that a run of a config needs; an error ends what depends on it, not the rest."""
    yield from _packages()
    yield from _device()
    yield _memory()
    yield _writable(Path(cfg.work_dir))
    if 'dmt' not in cfg:
        yield Finding(
            'error', 'config', 'it has no `dmt` dict', 'Data, weights and disk are checked for DMT configs only'
        )
        return
    try:
        init_default_scope(cfg.get('default_scope', 'mmseg'))
        plan = RunPlan.of(cfg)
        yield Finding('ok', 'config', f'{len(plan.phases)} phases, models {", ".join(plan.settings.models)}')
        with tempfile.TemporaryDirectory() as folder:
            data = RunData(plan, Path(cfg.work_dir).resolve())
            data.prepare(Path(folder) / 'splits')
            yield from _data(data)
            yield _disk(plan, data)
    except UserError as error:
        yield Finding('error', 'config, data or weights', own_message(error).replace('\n', ' '))


def _packages() -> Iterator[Finding]:
    found = versions()
    yield Finding('ok', 'versions', ', '.join(f'{name} {version}' for name, version in found.items()))
    installed = ', '.join(f'{name} {version}' for name, version in installed_versions().items())
    yield Finding('ok', 'package family', f'{TITLES[installed_family()]}: {installed or "on the path only"}')


def _device() -> Iterator[Finding]:
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        yield Finding(
            'ok', 'GPU', f'{torch.cuda.device_count()} x {name}, {megabytes(free)} of {megabytes(total)} free'
        )
        return
    yield Finding(
        'warning', 'GPU', f'none; {processors()} CPU cores',
        'A CPU trains small models only; with a GPU, install a build of torch for it',
    )  # fmt: skip
    if hint := crowded():
        finding, _, remedy = hint.partition(': ')
        yield Finding('warning', 'processors', finding, remedy)


def _memory() -> Finding:
    try:
        lines = dict(line.split(':') for line in Path('/proc/meminfo').read_text().splitlines())
        free = int(lines['MemAvailable'].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        return Finding('warning', 'memory', 'unknown on this system')
    if free < LITTLE_MEMORY:
        return Finding('warning', 'memory', f'{megabytes(free)} free', 'Smaller batches and fewer workers need less')
    return Finding('ok', 'memory', f'{megabytes(free)} free')


def _writable(work_dir: Path) -> Finding:
    try:
        check_folder(work_dir)
    except UnwritableError as error:
        return Finding('error', 'work dir', own_message(error), 'Choose another --work-dir')
    return Finding('ok', 'work dir', f'{work_dir} can be written, {megabytes(free_space(work_dir))} are free')


def _data(data: RunData) -> Iterator[Finding]:
    """Check images, masks, models and weights; the table of classes comes last."""
    data.check()
    for model, own in data.models.items():
        labeled = ' or '.join(map(str, sorted(set(own.num_labeled.values()))))
        yield Finding('ok', f'data of model {model}', f'{labeled} labeled, {own.num_unlabeled} unlabeled images')
        weights = data.plan.configs[model]['supervised'].get('load_from') or _pretrained(data.plan.configs[model])
        yield Finding(
            'ok', f'weights of model {model}', f'{weights or "random"}, {megabytes(data.weight_bytes[model])}'
        )
    for warning in data.warnings:
        yield Finding('warning', 'data', warning)
    table = '\n'.join(class_table(data)).strip()
    if table:
        yield Finding('ok', 'classes', f'\n{table}')


def _pretrained(configs: object) -> str:
    """The initial weights that a model config names; empty for none."""
    for part in dicts_in(configs):
        given = part.get('init_cfg')
        found = part.get('pretrained') or (given.get('checkpoint') if isinstance(given, Mapping) else None)
        if found:
            return str(found)
    return ''


def _disk(plan: RunPlan, data: RunData) -> Finding:
    manifest = Manifest(data.work_dir, plan.phases)
    space, free = disk_space(manifest, data), free_space(data.work_dir)
    needed = space.labels + space.kept + space.running + space.result
    found = f'at most {megabytes(needed)} are needed, {megabytes(free)} are free'
    if space.sure > free:
        return Finding('error', 'disk', found, 'Free some space, or set dmt.keep_checkpoints=False')
    if needed > free:
        return Finding('warning', 'disk', found, 'It is enough only if the labels compress well')
    return Finding('ok', 'disk', found)


def summary(findings: Sequence[Finding]) -> str:
    """One line about all findings."""
    errors, warnings = (sum(own.state == state for own in findings) for state in ('error', 'warning'))
    return f'{errors} errors, {warnings} warnings'

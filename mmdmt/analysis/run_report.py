"""Writes the report of a run: ``report.html`` and the same facts as ``report.md``, in its work dir."""

import logging
import time
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import init_default_scope

from mmdmt.analysis import label_sections, sections
from mmdmt.analysis.document import Section, as_markdown, as_page
from mmdmt.analysis.label_check import CHECK, check_labels
from mmdmt.analysis.label_facts import LabelFacts, read_labels
from mmdmt.analysis.references import NO_REFERENCES, References
from mmdmt.analysis.run_notes import write_notes
from mmdmt.analysis.run_record import NOTES, RunRecord
from mmdmt.analysis.snapshots import FOLDER, SNAPSHOT, Snapshot
from mmdmt.config_dicts import copy_config
from mmdmt.core.schedule import Phase
from mmdmt.datasets.unlabeled import UnlabeledDataset
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.run_data import RunData
from mmdmt.files import write_text

PACE = 20
"""Reports of a run in progress take at most one part of its time in so many."""

_due: dict[Path, float] = {}


def update(plan: RunPlan, manifest: Manifest, data: RunData, phase: Phase | None) -> None:
    """Write the report of a run in progress, and first what only its end of a phase can tell.

    Where phases are short, a phase may end without a new report (``PACE``); the start and the end of a run never do.

    Args:
        plan: The run.
        manifest: Its state.
        data: Its prepared data.
        phase: The phase that is complete now, with its labels still there; None at the start and the end of a run.
    """
    if phase is None:
        write_notes(plan, data, manifest.work_dir)
    elif phase.kind == 'label':
        if plan.task.store == 'maps':
            _check(plan, manifest, data, phase)
    else:
        Snapshot(plan, manifest, data, phase).take()
    start = time.monotonic()
    if phase is None or start >= _due.get(manifest.work_dir, start):
        write_report(manifest.work_dir)
        end = time.monotonic()
        _due[manifest.work_dir] = end + PACE * (end - start)


def _check(plan: RunPlan, manifest: Manifest, data: RunData, phase: Phase) -> None:
    own = data.models[phase.model]
    dataset = UnlabeledDataset(copy_config(own.unlabeled), [])
    check_labels(manifest.folder(phase.name), dataset, own.train_pipeline, plan.num_classes(phase.model))


def lacking(work_dir: Path) -> bool:
    """Whether a complete phase of a run has no pictures, or no comparison with true masks, that it could have."""
    record = RunRecord.read(work_dir)
    return not record.notes or any(not _made(work_dir, phase).is_file() for phase in record.phases
                                   if phase.name in record.records and not _is_table(work_dir, phase))  # fmt: skip


def _is_table(work_dir: Path, phase: Phase) -> bool:
    """Whether a label phase has labeled whole images, whose truth its table holds."""
    return phase.kind == 'label' and (work_dir / phase.name / 'labels.csv').is_file()


def _made(work_dir: Path, phase: Phase) -> Path:
    """What a report makes of a phase, once."""
    folder = work_dir / phase.name
    return folder / CHECK if phase.kind == 'label' else folder / FOLDER / SNAPSHOT


def make_up(work_dir: Path, cfg: Config) -> None:
    """Make what a report of an earlier run lacks, as far as its files allow; each thing that fails is left out."""
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    plan = RunPlan.of(cfg)
    manifest, data = Manifest(work_dir, plan.phases), RunData(plan, work_dir)
    data.prepare(work_dir / 'splits')
    if not (work_dir / NOTES).is_file():
        write_notes(plan, data, work_dir, own=False)
    for phase in plan.phases:
        if _made(work_dir, phase).is_file() or not manifest.is_complete(phase.name):
            continue
        try:
            if phase.kind == 'train':
                Snapshot(plan, manifest, data, phase).take()
            elif plan.task.store == 'maps':
                _check(plan, manifest, data, phase)
        except Exception as error:  # labels or weights that are gone
            print_log(f'{phase.name}: no pictures or label figures ({error})', 'current', logging.WARNING)


def write_report(work_dir: Path, references: References = NO_REFERENCES, folder: Path | None = None) -> Path:
    """Write the report of what a work dir holds.

    Args:
        work_dir: The work dir.
        references: What to compare it with.
        folder: Where to write; default: the work dir.

    Returns:
        Path of the page.
    """
    record = RunRecord.read(work_dir)
    content, title = run_sections(record, references), f'Run {work_dir.resolve().name}'
    folder = folder or work_dir
    write_text(folder / 'report.md', as_markdown(title, content))
    write_text(folder / 'report.html', as_page(title, content))
    return folder / 'report.html'


def run_sections(record: RunRecord, references: References = NO_REFERENCES) -> list[Section]:
    """All sections of the report of a run; those that it knows nothing of are left out."""
    ranking = record.setting('dmt.ranking') or 'all'
    facts = [own for phase in record.labels if (own := read_labels(record, phase, ranking)) is not None]
    by_name: dict[str, LabelFacts] = {own.phase.name: own for own in facts}
    found = [
        sections.result(record, facts, references),
        sections.plan(record, by_name),
        label_sections.labels(record, facts),
        label_sections.gallery(record),
        sections.classes(record),
        sections.training(record),
        sections.settings(record),
    ]
    return [section for section in found if section is not None]

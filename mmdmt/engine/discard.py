"""Deletes what no later phase of a run needs."""

from pathlib import Path

from mmdmt.engine.manifest import Manifest
from mmdmt.engine.settings import DMTSettings
from mmdmt.labels.stores import STORES


def discard_used(manifest: Manifest, settings: DMTSettings, store: str) -> None:
    """Delete labels and checkpoints that were used, unless ``keep_labels`` and ``keep_checkpoints`` keep them.

    A checkpoint is needed by the phases that start from it or label with it, and those of the last iteration by the
    result.

    Args:
        manifest: The run.
        settings: Its settings.
        store: Name of its label stores.
    """
    phases, last = manifest.phases, manifest.phases[-1].iteration
    if not settings.keep_labels:
        for phase in phases:
            if phase.labels is not None and manifest.is_complete(phase.name):
                STORES[store](manifest.folder(phase.labels)).discard()
    if settings.keep_checkpoints:
        return
    needed = {phase.init for phase in phases if not manifest.is_complete(phase.name)}
    for phase in phases:
        record = manifest.record(phase.name) or {}
        if phase.kind == 'train' and phase.iteration < last and phase.name not in needed and 'checkpoint' in record:
            (manifest.folder(phase.name) / Path(record['checkpoint']).name).unlink(missing_ok=True)

"""Finds damage in the work dir of a run, and has redone what can be redone."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mmdmt.core.schedule import Phase
from mmdmt.engine.commit import RECORD, commit
from mmdmt.engine.manifest import Manifest
from mmdmt.errors import DamagedFileError, MissingFileError, UserError
from mmdmt.files import checksum
from mmdmt.labels.stores import STORES
from mmdmt.untrusted import check_archive, read_meta


class Repair:
    """Damage in the work dir of a run.

    Args:
        manifest: The run.
        store: Name of its label stores.
        log: Called with one line for each finding.
    """

    def __init__(self, manifest: Manifest, store: str, log: Callable[[str], None]) -> None:
        self.manifest, self.store, self.log = manifest, store, log

    def reopen(self, chosen: Sequence[Phase]) -> None:
        """Make complete phases incomplete if files of theirs are damaged that the run still needs.

        Needed are the inputs of incomplete phases and the last models.

        Args:
            chosen: The phases to run: all, or one, which is then the only one that may be made anew.

        Raises:
            UserError: if a single phase is chosen and an input of it is damaged; names file and remedy.
            RefusedFileError: if a ``phase.json`` names a checkpoint that is not in its folder.
        """
        for phase in chosen:
            self._restore_record(phase)
        todo = {phase.name for phase in chosen if not self.manifest.is_complete(phase.name)}
        needed = {name for phase in chosen for name in phase.inputs if phase.name in todo}
        needed |= {phase.name for phase in chosen} & self._used()
        for phase in reversed(self.manifest.phases):
            if phase.name in todo or phase.name not in needed or not self.manifest.is_complete(phase.name):
                continue
            damage = self._damage(phase)
            if damage is None:
                continue
            if phase not in chosen:
                raise UserError(f'{self.manifest.folder(phase.name) / damage}; run --phase {phase.name} first')
            (self.manifest.folder(phase.name) / RECORD).unlink()
            self.log(f'{self.manifest.folder(phase.name) / damage}: phase {phase.name} is run again')
            todo.add(phase.name)
            needed.update(phase.inputs)

    def _used(self) -> set[str]:
        """Phases whose files a later phase of the plan or the result still uses."""
        phases, last = self.manifest.phases, self.manifest.phases[-1].iteration
        inputs = {name for phase in phases if not self.manifest.is_complete(phase.name) for name in phase.inputs}
        return inputs | {phase.name for phase in phases if phase.kind == 'train' and phase.iteration == last}

    def _restore_record(self, phase: Phase) -> None:
        """Write a ``phase.json`` anew that was lost or damaged, from the checkpoint that holds it too."""
        folder = self.manifest.folder(phase.name)
        if self.manifest.is_complete(phase.name):
            return
        lost = (folder / RECORD).exists()
        checkpoints = [*folder.glob('iter_*.pth'), *folder.glob('best_*.pth')]
        for path in checkpoints if phase.kind == 'train' else ():
            record = read_meta(path).get('dmt', {}).get('record') or {}
            if (record.get('phase'), record.get('checkpoint')) == (phase.name, path.name) and _is_whole(path):
                commit(folder, record)
                self.log(f'{folder / RECORD} was lost or damaged; it is written anew from {path.name}')
                return
        if lost:
            self.log(f'{folder / RECORD} is damaged: phase {phase.name} is completed again')

    def _damage(self, phase: Phase) -> str | None:
        """File and what is wrong with it, if a complete phase is damaged; deletes what is of no use."""
        if phase.kind == 'label':
            bad = STORES[self.store](self.manifest.folder(phase.name)).repair()
            return None if bad is None else f'{bad} is missing, damaged or changed'
        try:
            path = self.manifest.checkpoint(phase.name)
        except MissingFileError:
            return f'{(self.manifest.record(phase.name) or {}).get("checkpoint", "checkpoint")} is missing'
        expected = (self.manifest.record(phase.name) or {}).get('checksum')
        if (checksum(path) == expected) if expected else _is_whole(path):
            return None
        path.unlink()
        return f'{path.name} is damaged or changed'


def _is_whole(path: Path) -> bool:
    try:
        check_archive(path)
    except DamagedFileError:
        return False
    return True

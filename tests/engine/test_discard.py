import json

import pytest

from mmdmt.core.schedule import plan
from mmdmt.engine.discard import discard_used
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.settings import DMTSettings

PHASES = plan('mutual', ['a', 'b'], (0.5, 1.0))


@pytest.fixture
def manifest(tmp_path):
    """A run with the files of all phases, and the first iteration complete."""
    made = Manifest(tmp_path, PHASES)
    for phase in PHASES:
        name = 'iter_4.pth' if phase.kind == 'train' else 'labels/x.png'
        (made.folder(phase.name) / name).parent.mkdir(parents=True)
        (made.folder(phase.name) / name).touch()
        complete(made, *([phase] if phase.iteration < 2 else []))
    return made


def complete(manifest, *phases):
    for phase in phases:
        record = dict(phase=phase.name, **({'checkpoint': 'iter_4.pth'} if phase.kind == 'train' else {}))
        (manifest.folder(phase.name) / 'phase.json').write_text(json.dumps(record))


def left(manifest, pattern):
    return {path.relative_to(manifest.work_dir).parts[0] for path in manifest.work_dir.glob(pattern)}


@pytest.fixture
def discard(manifest, tiny_config, tmp_path):
    def discard(**keys):
        options = {f'dmt.{key}': value for key, value in keys.items()}
        discard_used(manifest, DMTSettings.from_config(tiny_config(tmp_path, options)), 'maps')

    return discard


@pytest.mark.parametrize('keep', [True, False])
def test_used_checkpoints(manifest, discard, keep):
    """Those stay that a phase of the next iteration starts from or labels with, and those of the last iteration."""
    everything = left(manifest, '*/*.pth')
    discard(keep_checkpoints=keep)
    assert left(manifest, '*/*.pth') == everything - (set() if keep else {'00_train_a', '00_train_b'})
    complete(manifest, *(phase for phase in PHASES if phase.name in ('02_label_a', '02_train_b')))
    discard(keep_checkpoints=keep)
    assert {'01_train_a', '01_train_b'} <= left(manifest, '*/*.pth')  # b still labels for a
    complete(manifest, *PHASES)
    discard(keep_checkpoints=keep)
    assert left(manifest, '*/*.pth') == (everything if keep else {'02_train_a', '02_train_b'})


@pytest.mark.parametrize('keep', [True, False])
def test_used_labels(manifest, discard, keep):
    discard(keep_labels=keep)
    used = set() if keep else {'01_label_a', '01_label_b'}
    assert left(manifest, '*/labels') == {'01_label_a', '01_label_b', '02_label_a', '02_label_b'} - used

"""What may import what, and where the test of a module is."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent / 'mmdmt'
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob('*.py'))
# Modules beside the rooms: any room may use them, and they use none.
GROUND = {path.stem for path in ROOT.glob('*.py')}
# From the ground up: each room may import from those on its line and from itself.
BELOW = {
    'core': set(),
    'labels': {'core'},
    'losses': {'core'},
    'datasets': {'core', 'labels'},
    'methods': {'core', 'losses', 'datasets'},
    'seg': {'core', 'labels', 'losses', 'datasets'},
    'cls': {'core', 'labels', 'losses', 'datasets'},
    'engine': {'core', 'labels', 'losses', 'datasets', 'methods'},
    'analysis': {'core', 'labels', 'losses', 'datasets', 'engine'},
    'experiments': {'core', 'labels', 'losses', 'datasets', 'engine', 'analysis'},
}


def imported(name):
    """Modules that a module names in its import statements, the ones within functions included."""
    for node in ast.walk(ast.parse((ROOT / name).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


def test_every_room_has_its_place():
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()} - {'__pycache__', '.mim'}
    assert folders == BELOW.keys()


@pytest.mark.parametrize('name', MODULES)
def test_imports_go_downwards(name):
    room = name.split('/')[0] if '/' in name else None
    found = {module.split('.')[1] for module in imported(name) if module.startswith('mmdmt.')}
    assert found - GROUND <= (set() if room is None else {room, *BELOW[room]})


@pytest.mark.parametrize('name', [name for name in MODULES if name.startswith('core/')])
def test_core_needs_torch_and_numpy_only(name):
    allowed = ('torch', 'numpy', 'mmdmt.core.', '__future__', 'collections.', 'contextlib.', 'dataclasses.', 'math',
               'random', 're', 'typing.')  # fmt: skip
    assert [module for module in imported(name) if not module.startswith(allowed)] == []


@pytest.mark.parametrize('name', MODULES)
def test_each_toolbox_is_needed_by_its_own_part_only(name):
    modules = list(imported(name))
    for room, toolbox in (('seg/', 'mmseg'), ('cls/', 'mmpretrain')):
        if not name.startswith(room):
            assert [module for module in modules if module.split('.')[0] == toolbox] == []


@pytest.mark.parametrize('name', [name for name in MODULES if not name.endswith('__.py')])
def test_the_test_of_a_module_is_found_by_its_path(name):
    path = Path(name)
    assert (TESTS / path.parent / f'test_{path.name}').is_file()

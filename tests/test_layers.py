"""What may import what: core <- losses, datasets <- seg, cls <- engine; one toolbox does not need the other."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / 'mmdmt'
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob('*.py'))
# Written for mmsegmentation, and imported by mmdmt.seg alone.
OF_SEG = ('seg/', 'datasets/transforms.py', 'datasets/digits.py')
BELOW = {
    'core': {'core'},
    'losses': {'core', 'losses'},
    'datasets': {'core', 'datasets'},
    'seg': {'core', 'losses', 'datasets', 'seg'},
    'cls': {'core', 'losses', 'datasets', 'cls'},
    'engine': {'core', 'losses', 'datasets', 'engine'},
}


def imported(name):
    """Modules that a module names in its import statements, the ones within functions included."""
    for node in ast.walk(ast.parse((ROOT / name).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


@pytest.mark.parametrize('name', [name for name in MODULES if '/' in name])
def test_imports_go_downwards(name):
    layers = {module.split('.')[1] for module in imported(name) if module.startswith('mmdmt.')}
    assert layers <= BELOW[name.split('/')[0]]


@pytest.mark.parametrize('name', [name for name in MODULES if name.startswith('core/')])
def test_core_needs_torch_and_numpy_only(name):
    assert not [module for module in imported(name) if module.startswith('mm') and not module.startswith('mmdmt')]


@pytest.mark.parametrize('name', MODULES)
def test_each_toolbox_is_needed_by_its_own_part_only(name):
    modules = list(imported(name))
    if not name.startswith(OF_SEG):
        assert not [module for module in modules if module.startswith('mmseg')]
        assert not [
            module for module in modules if module.startswith(('mmdmt.datasets.transforms', 'mmdmt.datasets.digits.'))
        ]
    if not name.startswith('cls/'):
        assert not [module for module in modules if module.startswith('mmpretrain')]

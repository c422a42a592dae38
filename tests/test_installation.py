import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmdmt import installation
from mmdmt.errors import InstallationError
from mmdmt.installation import FAMILIES, check_packages, command, installed_family, installed_versions

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
TOOLS = sorted(path.name for path in (ROOT / 'tools').glob('*.py'))
ORIGINAL = {'mmengine': '0.10.7', 'mmcv': '2.1.0', 'mmsegmentation': '1.2.2', 'mmpretrain': '1.2.0'}
LITE = {'mmengine-lite': '0.10.7', 'mmcv-lite': '2.1.0', 'mmpretrain': '1.2.0'}
MAINTAINED = {
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'onedl-mmsegmentation': '1.4.2',
    'onedl-mmpretrain': '1.3.6',
}


@pytest.fixture
def installed(monkeypatch):
    """``installed(versions, on_path=())`` are all that is installed; the imports of toolboxes succeed."""

    def install(versions, on_path=()):
        def version(name):
            if name not in versions:
                raise PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(installation, 'version', version)
        specs = {name: SimpleNamespace(origin=origin) for name, origin in dict(on_path).items()}
        monkeypatch.setattr(installation, 'find_spec', specs.get)
        monkeypatch.setattr(installation, 'import_module', lambda name: None)

    return install


@pytest.mark.parametrize(
    ('versions', 'toolboxes', 'family'),
    [
        (ORIGINAL, ['mmseg', 'mmpretrain'], 'openmmlab'),
        (LITE, ['mmpretrain'], 'openmmlab'),
        ({**ORIGINAL, 'mmcv': '2.2.0rc1+cu121'}, [], 'openmmlab'),
        (dict.fromkeys(MAINTAINED, '9'), ['mmseg', 'mmpretrain'], 'onedl'),
        (MAINTAINED, ['mmseg', 'mmpretrain'], 'onedl'),
        # A toolbox is needed by its own part only.
        ({'mmengine': '0.10.7', 'mmcv': '2.1.0'}, [], 'openmmlab'),
    ],
)
def test_what_works(installed, versions, toolboxes, family):
    installed(versions)
    check_packages(*toolboxes)
    assert installed_family() == family
    assert installed_versions() == versions


def test_clones_on_the_path_work(installed):
    """Many users start mmsegmentation from its repository, without an installation."""
    installed({'mmengine': '0.10.7', 'mmcv': '2.1.0'}, {'mmseg': '/home/mmseg/__init__.py'})
    check_packages('mmseg')
    installed({}, dict.fromkeys(['mmengine', 'mmcv'], '/home/__init__.py'))
    check_packages()
    assert installed_family() == 'openmmlab'


@pytest.mark.parametrize('on_path', [{}, {'mmcv': None}])
def test_no_family(installed, on_path):
    """Nor does a folder count that an uninstalled package left behind."""
    installed({'torch': '2.4.1'}, on_path)
    with pytest.raises(InstallationError, match=r"no OpenMMLab packages .*'\.\[onedl\]' .*'\.\[openmmlab\]' ") as error:
        check_packages()
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('versions', 'message'),
    [
        ({**MAINTAINED, 'mmcv': '2.1.0'}, r'onedl-mmcv 2\.3\.6 and mmcv 2\.1\.0 are both installed.*`import mmcv`'),
        (
            {**MAINTAINED, 'mmsegmentation': '1.2.2'},
            r'onedl-mmsegmentation 1\.4\.2 and mmsegmentation 1\.2\.2 .*mmseg`',
        ),
        ({**MAINTAINED, 'mmcv-lite': '2.1.0'}, r'onedl-mmcv 2\.3\.6 and mmcv-lite 2\.1\.0 '),
        (
            MAINTAINED | ORIGINAL,
            r'mmengine 0\.10\.12 and mmengine 0\.10\.7 .*Create a new environment.*uninstall onedl',
        ),
        # No folder is overwritten, but the parts are of two lines.
        ({'onedl-mmengine': '0.10.12', 'mmcv': '2.1.0'}, r'onedl-mmengine 0\.10\.12 and mmcv 2\.1\.0 are of two fam'),
        ({**ORIGINAL, 'mmcv-lite': '2.1.0'}, r'mmcv 2\.1\.0 and mmcv-lite 2\.1\.0 are both .*install one of them'),
    ],
)
def test_what_overwrites_each_other(installed, versions, message):
    installed(versions)
    with pytest.raises(RuntimeError, match=message):
        check_packages()


@pytest.mark.parametrize('family', [ORIGINAL, MAINTAINED])
def test_half_a_family(installed, family):
    """Each package is named if it is missing, beside those that are there, with the command of their family."""
    for number, (name, package) in enumerate(zip(family, ['mmengine', 'mmcv', 'mmseg', 'mmpretrain'], strict=True)):
        installed({other: version for other, version in family.items() if other != name})
        with pytest.raises(InstallationError, match=f'^{name} is missing beside ') as error:
            check_packages(*([package] if number > 1 else []))
        assert str(error.value).endswith(command('onedl' if family is MAINTAINED else 'openmmlab'))


@pytest.mark.parametrize(
    ('name', 'version'), [('mmengine', '0.7.4'), ('mmcv', '1.7.2'), ('mmsegmentation', '0.30.0'), ('mmpretrain', '0.9')]
)
def test_old_versions(installed, name, version):
    installed({**ORIGINAL, name: version})
    with pytest.raises(InstallationError, match=rf'^{name} {version} is too old, {ORIGINAL[name]} is the lowest'):
        check_packages('mmseg', 'mmpretrain')


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (
            AssertionError('MMCV==2.2.0 is used but incompatible.\nPlease install mmcv>=2.0.0rc4.'),
            r'^mmseg cannot be imported beside mmengine 0\.10\.7, mmcv 2\.1\.0, .* \(MMCV==2\.2\.0 is used but '
            r'incompatible\. Please install mmcv>=2\.0\.0rc4\.\); versions that fit: pip install ',
        ),
        (ImportError("cannot import name 'x'"), r"cannot import name 'x'.*versions that fit"),
        (ModuleNotFoundError(name='mmcv._ext'), r"^mmseg needs mmcv's compiled operations.*mim install 'mmcv>=2\.1"),
    ],
)
def test_packages_that_do_not_fit_together(installed, monkeypatch, error, message):
    def import_module(name):
        raise error

    installed(ORIGINAL)
    monkeypatch.setattr(installation, 'import_module', import_module)
    with pytest.raises(InstallationError, match=message) as found:
        check_packages('mmseg')
    assert '\n' not in str(found.value)
    check_packages()


def requirements(text):
    """Distribution -> requirement."""
    return {line.split('>')[0]: line.split('#')[0].strip() for line in text if line and not line.startswith('#')}


def test_the_extras_install_what_is_checked():
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    extras = project['optional-dependencies']
    for family, packages in FAMILIES.items():
        found = requirements(extras[family])
        for distributions in packages.values():
            name, lowest = next(iter(distributions.items()))
            assert found[name].startswith(f'{name}>={lowest},<')
    common = requirements(project['dependencies'])
    assert not any(name in common for packages in FAMILIES.values() for own in packages.values() for name in own)
    complete = requirements((ROOT / 'requirements.txt').read_text().splitlines())
    assert complete == common | requirements(extras['onedl']) | requirements(extras['demo'])


@pytest.fixture
def both(tmp_path):
    """Environment of a process that finds a package of the other family, too."""
    other = 'mmcv' if installed_family() == 'onedl' else 'onedl-mmcv'
    folder = tmp_path / f'{other.replace("-", "_")}-2.1.0.dist-info'
    folder.mkdir()
    (folder / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {other}\nVersion: 2.1.0\n')
    return {**os.environ, 'PYTHONPATH': os.pathsep.join([str(tmp_path), str(ROOT)])}


def started(arguments, env):
    done = subprocess.run([sys.executable, *map(str, arguments)], env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr.strip()


@pytest.mark.parametrize('part', ['engine', 'seg', 'cls'])
def test_parts_refuse_to_be_imported(both, part):
    status, _, error = started(['-c', f'import mmdmt.{part}'], both)
    assert status == 1
    assert error.splitlines()[-1].startswith('mmdmt.errors.InstallationError: onedl-mmcv ')


def arguments(tool):
    """What a tool accepts and would soon refuse."""
    two = dict.fromkeys(('convert_coco_deeplabv2.py', 'convert_dinov2.py'), 'a b')
    others = {'convert_efficientnet_lite.py': 'lite0 b', 'make_splits.py': 'voc a', 'predict.py': 'a b c d'}
    return {'benchmark.py': '--repeats 0', **two, **others}.get(tool, 'a').split()


@pytest.mark.parametrize('tool', TOOLS)
def test_every_tool_says_it_in_one_line(both, tool):
    status, out, error = started([ROOT / 'tools' / tool, *arguments(tool)], both)
    assert (status, out) == (2, ''), error
    assert error.startswith('error: onedl-mmcv ')
    assert 'are both installed and overwrite each other' in error
    assert '\n' not in error


NOTHING = """
import importlib.metadata, importlib.util, runpy, sys

def version(name):
    raise importlib.metadata.PackageNotFoundError(name)

importlib.metadata.version, importlib.util.find_spec = version, lambda name: None
sys.modules.update(dict.fromkeys(['mmengine', 'mmcv', 'mmseg', 'mmpretrain']))  # not to be imported
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


@pytest.mark.parametrize('tool', [*TOOLS, 'train.py a --cfg-options x=1'])
def test_tools_without_a_family(tool):
    tool, *options = tool.split()
    status, out, error = started(['-c', NOTHING, ROOT / 'tools' / tool, *(options or arguments(tool))], None)
    assert (status, out) == (2, ''), error
    assert error.startswith('error: no OpenMMLab packages are installed; install one family: ')
    assert '\n' not in error

"""What a wheel holds, and its command in an empty folder, without the repository."""

import json
import shutil
import subprocess
import sys
import zipfile
from functools import partial

import pytest

from tests.runs import run

pytest.importorskip('setuptools', minversion='70.1')  # with what makes wheels
BUILD = 'from setuptools import build_meta; build_meta.build_{}({!r})'
SHORT = [
    '--cfg-options',
    'dmt.supervised.iters=3',
    'dmt.semi.iters=3',
    'dmt.label_ratios=(1.0,)',
    'dmt.unlabeled.indices=16',
    'dmt.rehearse=False',
    'val_dataloader.dataset.indices=4',
    'test_dataloader.dataset.indices=4',
]
MINE = """
_base_ = 'mmdmt::dmt/fcn_digits.py'
custom_imports = dict(imports=['mmdmt.seg', 'mmdmt.engine', 'my_model'], allow_failed_imports=False)
model = dict(decode_head=dict(type='MyHead'))
"""
MY_MODEL = """
from mmseg.models import FCNHead
from mmseg.registry import MODELS
@MODELS.register_module()
class MyHead(FCNHead):
    pass
"""


def build(kind, source, folder):
    done = run('-c', f'import os; os.chdir({str(source)!r}); {BUILD.format(kind, str(folder))}')
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope='module')
def source(root, tmp_path_factory):
    """A copy of the files of the repository, since a build writes beside them."""
    folder = tmp_path_factory.mktemp('source')
    for path in ('pyproject.toml', 'requirements.txt', 'README.md', 'LICENSE', 'configs', 'tools', 'mmdmt'):
        copy = partial(shutil.copytree, symlinks=True) if (root / path).is_dir() else shutil.copy
        copy(root / path, folder / path)
    (folder / 'tools/__pycache__').mkdir(exist_ok=True)
    (folder / 'tools/__pycache__/train.cpython-311.pyc').touch()  # running leaves such files
    if (root / 'model-index.yml').is_file():
        shutil.copy(root / 'model-index.yml', folder)
    return folder


@pytest.fixture(scope='module')
def wheel(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp('wheel')
    build('wheel', source, folder)
    return next(folder.glob('*.whl'))


def content(wheel):
    return {name: zipfile.ZipFile(wheel).read(name) for name in zipfile.ZipFile(wheel).namelist()}


def test_a_wheel_carries_configs_and_tools(wheel, source):
    """In the layout of other packages of OpenMMLab, and nothing else."""
    paths = [path for name in ('configs', 'tools') for path in (source / name).rglob('*') if path.is_file()]
    paths += source.glob('model-index.yml')
    shipped = {f'mmdmt/.mim/{path.relative_to(source)}': path for path in paths if path.suffix != '.pyc'}
    files = content(wheel)
    assert {name for name in files if name.startswith('mmdmt/.mim/')} == shipped.keys()
    assert all(files[name] == path.read_bytes() for name, path in shipped.items())
    assert b'mmdmt = mmdmt.commands:main' in next(text for name, text in files.items() if 'entry_points' in name)
    assert {name.split('/')[0].split('-')[0] for name in files} == {'mmdmt'}
    assert {'mmdmt/py.typed', 'mmdmt/analysis/templates/report.html'} <= files.keys()


def test_a_source_distribution_makes_the_same_wheel(source, wheel, tmp_path):
    build('sdist', source, tmp_path)
    shutil.unpack_archive(next(tmp_path.glob('*.tar.gz')), tmp_path)
    build('wheel', next(path for path in tmp_path.iterdir() if path.is_dir()), tmp_path)
    assert content(next(tmp_path.glob('*.whl'))) == content(wheel)


@pytest.fixture(scope='module')
def command(wheel, tmp_path_factory):
    """``command(*arguments)`` of the installed wheel, in an empty folder."""
    target, empty = tmp_path_factory.mktemp('target'), tmp_path_factory.mktemp('empty')
    done = run('-m', 'pip', 'install', '-q', '--no-deps', '--no-index', '--target', target, wheel)
    assert done.returncode == 0, done.stdout

    def call(*arguments, status=0, program=(target / 'bin/mmdmt',)):
        command = [sys.executable, *program, *map(str, arguments)]
        environment = dict(PATH='/usr/bin:/bin', PYTHONPATH=str(target), OMP_NUM_THREADS='1')
        done = subprocess.run(
            command, cwd=empty, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout
        return done.stdout

    call.folder = empty
    return call


@pytest.mark.slow
def test_a_run_in_an_empty_folder(command, write_image):
    """Train, test, report, predict: the whole way of a user without the repository."""
    import numpy as np

    work_dir = command.folder / 'x'
    command('train', 'mmdmt::dmt/fcn_digits.py', '--work-dir', 'x', *SHORT)
    assert (work_dir / 'best.pth').is_file()
    command('test', 'x', '--json', 'metrics.json')
    assert json.loads((command.folder / 'metrics.json').read_text()).keys() >= {'mIoU'}
    (work_dir / 'report.md').unlink()
    assert 'Report: ' in command('report', 'x')
    assert 'mmdmt train mmdmt::dmt/fcn_digits.py --work-dir x' in (work_dir / 'report.md').read_text()
    write_image(command.folder / 'images/a.png', np.zeros((20, 30, 3), np.uint8))
    assert '1 images predicted: out' in command('predict', 'x', 'x/best.pth', 'images', 'out')
    assert (command.folder / 'out/masks/a.png').is_file()


@pytest.mark.slow
def test_two_processes(command):
    torchrun = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2', '-m', 'mmdmt')
    options = ['--work-dir', 'two', '--launcher', 'pytorch', '--phase', '00_train_a', *SHORT]
    command('train', 'dmt/fcn_digits', *options, program=torchrun)
    assert json.loads((command.folder / 'two/00_train_a/phase.json').read_text())['metrics'].keys() >= {'mIoU'}


@pytest.mark.slow
def test_a_config_of_the_user(command):
    """Its base is one of the package, its model a module in the folder; a wrong name is one line."""
    (command.folder / 'mine.py').write_text(MINE)
    (command.folder / 'my_model.py').write_text(MY_MODEL)
    command('train', 'mine.py', '--phase', '00_train_a', *SHORT)
    assert 'MyHead' in (command.folder / 'work_dirs/mine/config.py').read_text()
    shown = command('train', 'mmdmt::dmt/fcn_digit.py', status=2)
    assert 'did you mean mmdmt::dmt/fcn_digits.py?' in shown.splitlines()[-1]
    shown = command('experiment', 'mmdmt::experiments/digits.py', '--dry-run')
    assert 'digits/seed0/dmt: to train' in shown

import argparse

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmdmt.command_line import add_common_arguments
from mmdmt.engine import DMTRunner
from mmdmt.engine.cli import is_dmt, load_config, write_config
from mmdmt.engine.manifest import flatten
from mmdmt.errors import UserError

CONFIG = """
data_root = 'here'
sets = dict(labeled=dict(type='A', data_root='here'), unlabeled=[dict(data_root='here'), dict(data_root='there')])
loader = dict(dataset=dict(data_root='here', data_prefix=dict(img_path='here')))
number = 1
"""


@pytest.fixture
def load(monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')

    def parse_and_load(*arguments):
        parser = argparse.ArgumentParser()
        parser.add_argument('config')
        add_common_arguments(parser)
        return load_config(parser.parse_args([str(argument) for argument in arguments]))

    return parse_and_load


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / 'my_run.py'
    path.write_text(CONFIG)
    return path


def test_data_root_moves_the_sets_that_lie_in_it(load, config_file):
    cfg = load(config_file, '--cfg-options', 'data_root=now', 'number=2')
    assert cfg.sets.labeled == dict(type='A', data_root='now')
    assert cfg.sets.unlabeled == [dict(data_root='now'), dict(data_root='there')]
    assert cfg.loader.dataset == dict(data_root='now', data_prefix=dict(img_path='here'))
    assert (cfg.data_root, cfg.number) == ('now', 2)


def test_without_options_nothing_moves(load, config_file):
    cfg = load(config_file)
    assert (cfg.sets.labeled.data_root, cfg.number, cfg.launcher) == ('here', 1, 'none')


def test_data_root_of_a_real_config(load, root):
    cfg = load(root / 'configs/dmt/fcn_camvid_1_8.py', '--cfg-options', 'data_root=now')
    datasets = [cfg.dmt.labeled, cfg.dmt.unlabeled, cfg.val_dataloader.dataset, cfg.test_dataloader.dataset]
    assert [dataset.data_root for dataset in datasets] == ['now'] * 4


def test_work_dir(load, config_file):
    assert load(config_file).work_dir == 'work_dirs/my_run'
    assert load(config_file, '--cfg-options', 'work_dir=mine').work_dir == 'mine'
    assert load(config_file, '--work-dir', 'given', '--cfg-options', 'work_dir=mine').work_dir == 'given'


def test_work_dir_without_a_name(load, config_file):
    with pytest.raises(UserError, match=r'^--work-dir is empty: it must be a folder'):
        load(config_file, '--work-dir', '')


def test_config_of_the_package(load, tmp_path, monkeypatch):
    """By its name, from any folder; a folder of that name is a work dir."""
    monkeypatch.chdir(tmp_path)
    cfg = load('mmdmt::dmt/fcn_digits.py', '--cfg-options', 'dmt.semi.epochs=1')
    assert (cfg.work_dir, cfg.dmt.semi.epochs, cfg.runner_type) == ('work_dirs/fcn_digits', 1, 'DMTRunner')
    assert load('dmt/fcn_digits').work_dir == 'work_dirs/fcn_digits'
    write_config(load('dmt/fcn_digits', '--cfg-options', 'dmt.semi.epochs=7'), tmp_path / 'dmt/fcn_digits')
    cfg = load('dmt/fcn_digits')
    assert (cfg.work_dir, cfg.dmt.semi.epochs) == ('dmt/fcn_digits', 7)


def test_missing_config_is_named(load, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no_such\.py does not exist'):
        load(tmp_path / 'no_such.py')
    with pytest.raises(FileNotFoundError, match=r'^there is no config or work dir .*/no_such$'):
        load(tmp_path / 'no_such')


@pytest.mark.parametrize(
    ('name', 'what'), [('best.pth', 'a checkpoint'), ('README.md', 'no config'), ('x', 'no config')]
)
def test_file_that_is_no_config(load, tmp_path, name, what):
    (tmp_path / name).write_text('x = 1')
    with pytest.raises(
        UserError, match=rf'/{name} is {what}, where a config is expected \(\.py, \.json, \.yaml, \.yml\)'
    ):
        load(tmp_path / name)


def test_work_dir_holds_the_config_with_all_options(load, config_file, tmp_path):
    """It is loaded again by the work dir alone, also after a move; options may follow."""
    cfg = load(config_file, '--cfg-options', 'number=7', 'data_root=now')
    cfg.resume = True
    write_config(cfg, tmp_path / 'run')
    (tmp_path / 'run').rename(tmp_path / 'moved')
    again = load(tmp_path / 'moved')
    assert (again.work_dir, 'resume' in again) == (str(tmp_path / 'moved'), False)
    expected = {key: value for key, value in cfg.to_dict().items() if key not in ('work_dir', 'resume')}
    assert {key: value for key, value in again.to_dict().items() if key != 'work_dir'} == expected
    changed = load(tmp_path / 'moved', '--work-dir', 'given', '--cfg-options', 'number=8', 'data_root=later')
    assert (changed.work_dir, changed.number, changed.sets.labeled.data_root) == ('given', 8, 'later')


@pytest.mark.parametrize('name', ['fcn_digits.py', 'wrn10-1_digits.py', 'deeplabv2_segformer_voc_1_20.py'])
def test_config_of_a_run_is_the_same_config(load, root, tmp_path, name):
    cfg = load(root / 'configs/dmt' / name)
    write_config(cfg, tmp_path)
    assert flatten(load(tmp_path)) == flatten(cfg)


def test_folder_that_holds_no_run(load, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'config\.py does not exist'):
        load(tmp_path)


def test_package_that_a_config_imports_and_that_is_missing(load, tmp_path):
    """mmengine's message, of the whole path of Python, is left out."""
    path = tmp_path / 'config.py'
    path.write_text("custom_imports = dict(imports='no_such_package.models', allow_failed_imports=False)\n")
    expected = rf"^config {path} cannot be read: ModuleNotFoundError: No module named 'no_such_package'$"
    with pytest.raises(ValueError, match=expected):
        load(str(path))


@pytest.mark.parametrize(
    ('kind', 'expected'),
    [
        (None, False),
        ('Runner', False),
        ('mmengine.Runner', False),
        (Runner, False),
        ('DMTRunner', True),
        (DMTRunner, True),
    ],
)
def test_kind_of_a_run(kind, expected):
    assert is_dmt(Config(dict(runner_type=kind))) == expected
    assert not is_dmt(Config({}))


@pytest.mark.parametrize('kind', ['DMTRuner', 'FlexibleRunner', 3])
def test_runner_of_another_kind(kind):
    with pytest.raises(
        UserError, match=f"^runner_type={kind!r} must be 'DMTRunner', or absent for an ordinary config$"
    ):
        is_dmt(Config(dict(runner_type=kind)))

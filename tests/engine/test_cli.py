import argparse

import pytest

from mmdmt.engine.cli import add_common_arguments, load_config

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


def test_missing_config_is_named(load, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no_such\.py does not exist'):
        load(tmp_path / 'no_such.py')

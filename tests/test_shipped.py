import subprocess
import sys

import pytest

import mmdmt
from mmdmt.shipped import SHIPPED, config_path, find_config


@pytest.mark.parametrize(
    'name', ['mmdmt::dmt/fcn_digits.py', 'mmdmt::dmt/fcn_digits', 'dmt/fcn_digits', 'configs/dmt/fcn_digits.py']
)
def test_names_of_a_config(root, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert config_path(name) == find_config(name) == str(root / 'configs/dmt/fcn_digits.py')


def test_what_exists_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'dmt').mkdir()
    (tmp_path / 'dmt/fcn_digits.py').touch()
    assert find_config('dmt/fcn_digits.py') == 'dmt/fcn_digits.py'
    assert find_config(tmp_path / 'dmt/fcn_digits.py') == str(tmp_path / 'dmt/fcn_digits.py')
    assert find_config('mmdmt::dmt/fcn_digits.py') == config_path('dmt/fcn_digits')


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('dmt/fcn_digit.py', r'config dmt/fcn_digit\.py does not exist; did you mean mmdmt::dmt/fcn_digits\.py'),
        ('mmdmt::fcn_digits', r'config mmdmt::fcn_digits does not exist; did you mean mmdmt::dmt/fcn_digits\.py\?$'),
        ('my_runs/first', r'there is no config or work dir my_runs/first$'),
        ('mmdmt::dmt', r'config mmdmt::dmt does not exist$'),
    ],
)
def test_missing_configs(name, message):
    with pytest.raises(FileNotFoundError, match=message):
        find_config(name)


def test_a_checkout_has_links(root):
    """What the wheel holds, and what other packages of OpenMMLab have there, is this repository's own."""
    for name in ('configs', 'tools', 'model-index.yml'):
        assert (SHIPPED / name).is_symlink()
        assert (SHIPPED / name).resolve() == root / name


def test_the_package_is_imported_in_no_time():
    """Configs of the stock tools use it: ``_base_ = __import__('mmdmt').config_path(...)``."""
    code = 'import time, sys; start = time.process_time(); import mmdmt; print(time.process_time() - start)'
    code += "; assert not {'torch', 'numpy', 'mmengine'} & sys.modules.keys()"
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.05
    assert mmdmt.config_path('dmt/fcn_digits') == config_path('dmt/fcn_digits')

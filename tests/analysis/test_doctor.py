import shutil
from types import SimpleNamespace

import pytest
import torch

from mmdmt.analysis import doctor
from mmdmt.analysis.doctor import Finding, diagnose, summary
from mmdmt.installation import TITLES, installed_family, installed_versions


def found(cfg):
    return {finding.what: finding for finding in diagnose(cfg)}


def test_a_config_that_can_run(tiny_config, tmp_path):
    findings = found(tiny_config(tmp_path / 'run'))
    assert [own.what for own in findings.values() if own.state == 'error'] == []
    assert findings['data of model a'].found == '4 labeled, 6 unlabeled images'
    assert findings['weights of model b'].found.startswith('random, ')
    assert '| 0 background' in findings['classes'].found
    assert 'are free' in findings['disk'].found
    assert f'torch {torch.__version__.split("+")[0]}' in findings['versions'].found
    assert not (tmp_path / 'run').exists()


def test_a_fault_in_the_data_ends_nothing_else(folder_config):
    folder_config.dmt.labeled.data_root = 'nowhere'
    findings = found(folder_config)
    assert findings['config, data or weights'].state == 'error'
    assert 'nowhere' in findings['config, data or weights'].found
    assert findings['work dir'].state == 'ok'


def test_missing_weights(tiny_config, tmp_path):
    findings = found(tiny_config(tmp_path / 'run', {'load_from': 'nowhere.pth'}))
    assert 'nowhere.pth' in findings['config, data or weights'].found


def test_the_family_is_named(tiny_config, tmp_path):
    finding = found(tiny_config(tmp_path / 'run'))['package family']
    family = installed_family()
    assert finding.found.startswith(f'{TITLES[family]}: ')
    assert all(f'{name} {version}' in finding.found for name, version in installed_versions(family).items())


@pytest.mark.parametrize(('free', 'state'), [(10**5, 'error'), (10**13, 'ok')])
def test_disk(monkeypatch, tiny_config, tmp_path, free, state):
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: SimpleNamespace(free=free))
    assert found(tiny_config(tmp_path / 'run'))['disk'].state == state


def test_a_work_dir_that_cannot_be_written(monkeypatch, tmp_path):
    def refuse(**_):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(doctor.tempfile, 'TemporaryFile', refuse)
    finding = doctor._writable(tmp_path / 'a/b')
    assert str(finding).startswith('error   work dir:')
    assert 'Permission denied' in finding.found


@pytest.mark.parametrize(('text', 'state'), [('MemAvailable: 1000 kB', 'warning'), ('MemAvailable: 9000000 kB', 'ok')])
def test_memory(monkeypatch, text, state):
    monkeypatch.setattr(doctor.Path, 'read_text', lambda _: text)
    assert doctor._memory().state == state


def test_an_ordinary_config(tiny_config, tmp_path):
    cfg = tiny_config(tmp_path / 'run')
    cfg.pop('dmt')
    assert found(cfg)['config'].state == 'error'


def test_summary():
    findings = [Finding('ok', 'a', 'b'), Finding('error', 'a', 'b', 'c'), Finding('warning', 'a', 'b')]
    assert summary(findings) == '1 errors, 1 warnings'
    assert str(findings[1]) == 'error   a: b. c'

import builtins
import os
import pickle
import re
import zipfile
from collections import OrderedDict

import mmengine
import numpy as np
import pytest
import torch
import yaml
from mmengine.fileio.handlers import file_handlers
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.runner import CheckpointLoader
from torch import nn

from mmdmt import data_only
from mmdmt.engine.cli import read_config
from mmdmt.errors import DamagedFileError, MissingFileError, RefusedFileError, UserError
from mmdmt.untrusted import check_archive, load_checkpoint, read_meta, read_tensors, state_dict, untrusted_files

WEIGHTS = {'weight': torch.arange(200.0)}


class Code:
    """Its pickle names a function to call: here, one that makes a folder."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


class Attribute:
    """Its pickle calls ``getattr``."""

    def __init__(self, owner, name):
        self.owner, self.name = owner, name

    def __reduce__(self):
        return getattr, (self.owner, self.name)


class Hijacked:
    """Sets a name in the module of HistoryBuffer, by means of allowed names only."""

    def __reduce__(self):
        run = Attribute(Attribute(builtins.getattr, '__self__'), 'exec')
        return getattr, (Attribute(HistoryBuffer, '__init__'), '__globals__'), None, None, iter([('len', run)])


class Called:
    def __init__(self, text):
        self.text = text

    def __reduce__(self):
        return HistoryBuffer, (self.text,)


@pytest.fixture(autouse=True, params=['torch', 'ours'])
def way(request, monkeypatch):
    """Who reads: torch, or our own unpickler, as with torch before 2.4."""
    if request.param == 'torch' and not data_only.TAKES_NAMES:
        pytest.skip('this torch cannot be given names')
    monkeypatch.setattr(data_only, 'TAKES_NAMES', request.param == 'torch')
    return request.param


@pytest.fixture
def marker(tmp_path):
    return tmp_path / 'EXECUTED'


@pytest.fixture
def evil(tmp_path, marker):
    """``evil(kind)``: a checkpoint that would make the folder ``marker``."""

    def make(kind):
        path = tmp_path / f'{kind}.pth'
        if kind == 'pickle':
            path.write_bytes(pickle.dumps(Code(marker), protocol=2))
        elif kind == 'getattr':
            code = f'import os; os.mkdir({str(marker)!r})'
            torch.save({'state_dict': WEIGHTS, 'hub': [Hijacked(), Called(code)]}, path)
        else:
            place = 'state_dict' if kind == 'weights' else 'meta'
            content = {'state_dict': WEIGHTS, place: {'x': Code(marker)}}
            torch.save(content, path, _use_new_zipfile_serialization=kind != 'old format')
        return path

    return make


@pytest.mark.parametrize('kind', ['meta', 'weights', 'old format', 'pickle', 'getattr'])
def test_code_in_a_checkpoint_is_refused(evil, marker, kind):
    path = evil(kind)
    with pytest.raises(RefusedFileError, match=rf'{path} is refused: it names code to run \(.+\).*--allow-pickle'):
        load_checkpoint(path)
    with untrusted_files(), pytest.raises((UserError, pickle.UnpicklingError)):
        torch.load(path, weights_only=False)  # as a package may call it
    assert not marker.exists()


@pytest.mark.parametrize('name', ['mean', '__init__', 'update', 'register_statistics', '__subclasses__'])
def test_only_statistics_of_a_history_buffer_can_be_reached(tmp_path, name):
    path = tmp_path / 'hub.pth'
    torch.save({'state_dict': WEIGHTS, 'hub': Attribute(HistoryBuffer, name)}, path)
    if name == 'mean':
        assert load_checkpoint(path)['hub'] is HistoryBuffer.mean
    else:
        with pytest.raises(RefusedFileError, match='getattr'):
            load_checkpoint(path)


@pytest.mark.parametrize('module', [b'numpy.core.multiarray', b'numpy._core.multiarray'])
def test_checkpoints_written_with_other_versions_of_numpy(tmp_path, module):
    """numpy 1 writes the first name, numpy 2 the second; each has to read both."""
    path, history = tmp_path / 'iter_1.pth', HistoryBuffer([1.0, 3.0], [1, 1])
    torch.save({'state_dict': WEIGHTS, 'hub': history, 'best': np.float32(0.5), 'empty': HistoryBuffer()}, path)
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, data in content.items():
            archive.writestr(name, re.sub(rb'numpy\._?core\.multiarray', module, data))
    found = load_checkpoint(path)
    assert found['hub'].mean(2) == 2.0
    assert found['best'] == np.float32(0.5)
    assert len(found['empty'].data[0]) == 0


@pytest.mark.parametrize('kind', ['meta', 'weights', 'old format'])
def test_code_runs_if_it_is_allowed(evil, marker, kind):
    with untrusted_files(allow_pickle=True):
        load_checkpoint(evil(kind))
    assert marker.exists()


def test_downloaded_weights_are_not_trusted_either(evil, marker, tmp_path, monkeypatch):
    """mmengine unpickles what it finds in the cache of torch.hub."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    cache = tmp_path / 'hub/checkpoints'
    cache.mkdir(parents=True)
    evil('meta').rename(cache / 'meta.pth')
    with pytest.raises(RefusedFileError, match=r'https://example\.org/meta\.pth is refused'):
        load_checkpoint('https://example.org/meta.pth')
    assert not marker.exists()


def test_own_checkpoints_need_nothing_more(tmp_path):
    buffer = HistoryBuffer([1.0, 3.0], [1, 1])
    content = dict(
        state_dict=OrderedDict(WEIGHTS),
        meta=dict(score=np.float32(0.5), best=np.float64(2), step=np.int64(3), classes=('a', 'b'), dmt=dict(model='a')),
        message_hub=dict(log_scalars=OrderedDict(loss=buffer)),
        optimizer=torch.optim.Adam([nn.Parameter(torch.zeros(3))]).state_dict(),
    )
    torch.save(content, tmp_path / 'own.pth')
    found = load_checkpoint(tmp_path / 'own.pth')
    assert found['meta'] == content['meta']
    assert found['message_hub']['log_scalars']['loss'].statistics('mean') == 2
    assert torch.equal(found['state_dict']['weight'], WEIGHTS['weight'])


def test_text_that_mmengine_would_run_is_dropped(tmp_path):
    """``Runner.resume`` runs ``meta['config']`` as a config file."""
    torch.save(dict(state_dict=WEIGHTS, meta=dict(config='raise SystemExit', iter=3)), tmp_path / 'x.pth')
    assert load_checkpoint(tmp_path / 'x.pth')['meta'] == dict(iter=3)


@pytest.mark.parametrize('name', ['list.pkl', 'list.pickle', 'list.yaml', 'list.yml'])
def test_code_in_an_annotation_file(tmp_path, marker, name):
    path = tmp_path / name
    if path.suffix in ('.yaml', '.yml'):
        path.write_text(yaml.dump(Code(marker)))
    else:
        path.write_bytes(pickle.dumps(Code(marker)))
    with untrusted_files():
        with pytest.raises(
            RefusedFileError, match=r'refused: it names code to run \(.*(posix|nt)\.mkdir\).*--allow-pickle'
        ):
            mmengine.load(path)
        assert not marker.exists()
    with untrusted_files(allow_pickle=True):
        mmengine.load(path)
    assert marker.exists()


def test_code_in_a_yaml_config(tmp_path, marker):
    path = tmp_path / 'config.yaml'
    path.write_text(yaml.dump(dict(model=Code(marker))))
    with untrusted_files(), pytest.raises(UserError, match=rf'config {path}: the YAML file is refused'):
        read_config(path, {})
    assert not marker.exists()
    path.write_text(yaml.dump(dict(scale=(0.5, 2.0), names=['a'])))
    with untrusted_files():
        assert read_config(path, {}).to_dict() == dict(scale=(0.5, 2.0), names=['a'])


def test_plain_annotation_files_are_read(tmp_path):
    content = dict(metainfo=dict(classes=['a']), data_list=[dict(img_path='x.png', gt_label=3)])
    for name in ('list.pkl', 'list.yaml', 'list.json'):
        with untrusted_files():
            mmengine.dump(content, str(tmp_path / name))
            assert mmengine.load(tmp_path / name) == content


def test_broken_yaml_is_one_error(tmp_path):
    (tmp_path / 'x.yaml').write_text('a: [1')
    with untrusted_files(), pytest.raises(UserError, match='the YAML file cannot be read'):
        mmengine.load(tmp_path / 'x.yaml')


def damage(path, how):
    content = path.read_bytes()
    size = len(content)
    return path.write_bytes(
        {
            'empty': b'',
            'truncated': content[: size // 2],
            'zeroed': content[: size // 3] + bytes(size // 3) + content[size // 3 * 2 :],
            'text': b'<html>not found</html>',
        }[how]
    )


@pytest.mark.parametrize('how', ['empty', 'truncated', 'zeroed', 'text'])
def test_damaged_checkpoint(tmp_path, how):
    path = tmp_path / 'x.pth'
    torch.save(dict(state_dict={'weight': torch.randn(2000)}), path)
    check_archive(path)
    damage(path, how)
    if how == 'zeroed':
        assert zipfile.is_zipfile(path)
    for read in (load_checkpoint, check_archive):
        with pytest.raises(DamagedFileError, match=rf'{path} is damaged'):
            read(path)


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / 'no.pth')


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_names_of_weights(prefix):
    module = nn.Sequential(nn.BatchNorm1d(2))
    weights = module.state_dict(prefix=prefix)
    for checkpoint in (weights, {'state_dict': weights}):
        found = state_dict(checkpoint)
        assert list(found) == list(module.state_dict())
        assert found._metadata is weights._metadata


def test_safetensors(tmp_path):
    safetensors = pytest.importorskip('safetensors.torch')
    safetensors.save_file(WEIGHTS, tmp_path / 'x.safetensors', metadata=dict(model='b'))
    found = load_checkpoint(tmp_path / 'x.safetensors')
    assert torch.equal(found['state_dict']['weight'], WEIGHTS['weight'])
    assert found['meta']['dmt']['model'] == 'b'
    damage(tmp_path / 'x.safetensors', 'truncated')
    with pytest.raises(DamagedFileError, match=r'x\.safetensors is damaged'):
        load_checkpoint(tmp_path / 'x.safetensors')


def test_everything_is_as_before_afterwards(evil, marker):
    before = dict(CheckpointLoader._schemes), dict(file_handlers), torch.load
    with untrusted_files(), untrusted_files(allow_pickle=True), pytest.raises(RefusedFileError):
        load_checkpoint(evil('meta'))  # the outer one decides
    assert (CheckpointLoader._schemes, file_handlers, torch.load) == before
    assert not marker.exists()


def test_meta_is_read_without_the_weights(evil, marker, tmp_path):
    torch.save(dict(state_dict=WEIGHTS, meta=dict(iter=3)), tmp_path / 'x.pth')
    assert read_meta(tmp_path / 'x.pth') == dict(iter=3)
    with pytest.raises(RefusedFileError, match='names code to run'):
        read_meta(evil('meta'))
    assert not marker.exists()
    with untrusted_files(allow_pickle=True):
        read_meta(evil('meta'))
    assert marker.exists()
    for content in (b'', b'text', (tmp_path / 'x.pth').read_bytes()[:300]):
        (tmp_path / 'y.pth').write_bytes(content)
        assert read_meta(tmp_path / 'y.pth') == {}
    torch.save(WEIGHTS, tmp_path / 'y.pth')
    assert read_meta(tmp_path / 'y.pth') == {}


def test_checkpoint_without_weights_by_name(tmp_path):
    torch.save([1, 2], tmp_path / 'x.pth')
    with pytest.raises(UserError, match=r'x\.pth is no checkpoint: it holds a list, not weights by name'):
        load_checkpoint(tmp_path / 'x.pth')


def test_file_of_tensors_alone(tmp_path):
    path, where = tmp_path / 'x.pth', 'get it elsewhere'
    with pytest.raises(MissingFileError, match=r'x\.pth does not exist; get it elsewhere$'):
        read_tensors(path, where)
    path.write_bytes(b'no weights')
    with pytest.raises(UserError, match=r'x\.pth cannot be read as weights \(\w+\); get it elsewhere$'):
        read_tensors(path, where)
    torch.save([torch.zeros(1)], path)
    with pytest.raises(UserError, match=r'x\.pth holds list instead of a dict of tensors; get it elsewhere$'):
        read_tensors(path, where)
    torch.save(dict(weight=torch.ones(2)), path)
    assert read_tensors(path, where)['weight'].tolist() == [1, 1]

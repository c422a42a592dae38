"""What both ways refuse is tested in test_untrusted.py."""

import io
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from torch import nn

from mmdmt import data_only


@pytest.fixture
def ours(monkeypatch):
    """The way of torch before 2.4."""
    monkeypatch.setattr(data_only, 'TAKES_NAMES', False)


def read(content, **kwargs):
    """What is read of bytes, or of an object that is written first."""
    file = io.BytesIO()
    if isinstance(content, bytes):
        file.write(content)
    else:
        torch.save(content, file)
    file.seek(0)
    with data_only.data_only():
        return torch.load(file, **kwargs)


class Reduced:
    """Its pickle is what its parts say: a function, arguments, and a state."""

    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


@pytest.mark.skipif(not data_only.TAKES_NAMES, reason='this torch cannot be given names')
@pytest.mark.parametrize('forced', [None, '0'])
def test_torch_knows_the_names_in_the_block_only(monkeypatch, forced):
    monkeypatch.delenv(data_only.FORCE, raising=False)
    if forced is not None:
        monkeypatch.setenv(data_only.FORCE, forced)
    own = [OrderedDict, slice]
    torch.serialization.add_safe_globals(own)
    before = list(torch.serialization.get_safe_globals())
    try:
        with data_only.data_only():
            assert os.environ[data_only.FORCE] == '1'
            assert HistoryBuffer in torch.serialization.get_safe_globals()
        assert set(torch.serialization.get_safe_globals()) == set(before)
        assert os.environ.get(data_only.FORCE) == forced
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals([item for item in before if item not in own])


def test_load_is_replaced_in_the_block_only(ours):
    before = torch.load, torch.serialization.load
    with pytest.raises(KeyError), data_only.data_only():
        assert torch.load is torch.serialization.load is not before[0]
        raise KeyError
    assert (torch.load, torch.serialization.load) == before


def test_data_of_all_kinds(ours):
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    arrays = [np.arange(6, dtype=kind).reshape(2, 3) for kind in ('f4', 'f8', 'i8', 'u1')]
    arrays += [np.asfortranarray(arrays[0]), np.array([True, False]), np.zeros((0, 2))]
    content = dict(
        state_dict=module.state_dict(), weight=module[0].weight, arrays=arrays, same=arrays[0],
        numbers=[np.float32(0.5), np.int64(3), 1.5, None, 'text', b'bytes'], half=torch.ones(2, dtype=torch.bfloat16),
        optimizer=torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9).state_dict(), slice=slice(0, 3),
    )  # fmt: skip
    found = read(content, map_location='cpu')
    for name, value in content['state_dict'].items():
        assert torch.equal(found['state_dict'][name], value)
    assert found['state_dict']._metadata == content['state_dict']._metadata
    assert torch.equal(found['weight'], content['weight'])
    assert isinstance(found['weight'], nn.Parameter)
    for value, expected in zip(found['arrays'], arrays, strict=True):
        np.testing.assert_array_equal(value, expected)
        assert value.dtype == expected.dtype
        assert type(value) is np.ndarray
    assert found['same'] is found['arrays'][0]
    for key in ('numbers', 'optimizer', 'slice'):
        assert found[key] == content[key]
    assert torch.equal(found['half'], content['half'])


@pytest.mark.parametrize(
    'content',
    [
        Reduced(os.getenv, ('PATH',)),
        Reduced(np.dtype, ('O',)),
        # The state of a class is its attributes.
        Reduced(data_only._statistic, (HistoryBuffer, 'mean')),
        np.array([{}], dtype=object),
        np.zeros(2, 'f4,i4'),
        np.zeros(2, '>f4'),
        nn.Linear(1, 1),
    ],
    ids=[
        'function',
        'dtype of objects',
        'a name of ours',
        'objects',
        'a structure',
        'bytes of another order',
        'module',
    ],
)
def test_other_names_are_refused(ours, content):
    with pytest.raises(pickle.UnpicklingError, match='Unsupported'):
        read(content)


def pickled_state(name, state):
    """Pickle that sets the state of what a global name stands for."""
    module, _, own = name.rpartition('.')
    return b'\x80\x02c' + f'{module}\n{own}\n'.encode() + pickle.dumps(state, 2)[2:-1] + b'b.'


@pytest.mark.parametrize('name', ['mmengine.logging.history_buffer.HistoryBuffer', 'torch.FloatStorage'])
def test_attributes_of_classes_cannot_be_set(ours, name):
    with pytest.raises(pickle.UnpicklingError, match='to set the state of'):
        data_only._load(io.BytesIO(pickled_state(name, (None, {'mean': 1}))))
    assert callable(HistoryBuffer.mean)


def test_forged_dtypes_are_ignored(ours):
    """With flags of a dtype of objects, numpy would take the bytes of the file for pointers."""
    before = np.dtype('f8').flags
    forged = Reduced(np.dtype, ('f8', False, True), (3, '|', None, None, None, -1, -1, 63))
    found = read([forged, np.array([1.0])])
    assert found[0] == np.dtype('f8')
    assert found[0].flags == np.dtype('f8').flags == before
    assert found[1].tolist() == [1.0]


def test_wrong_arguments_are_refused(ours):
    with pytest.raises(pickle.UnpicklingError):
        read(Reduced(OrderedDict, (1, 2, 3)))


def test_programs_are_refused(ours, tmp_path):
    torch.jit.script(nn.Linear(1, 1)).save(tmp_path / 'x.pth')
    with pytest.raises(pickle.UnpicklingError, match='program'):
        read((tmp_path / 'x.pth').read_bytes())
    with data_only.data_only(), pytest.raises(pickle.UnpicklingError, match='program'):
        torch.load(tmp_path / 'x.pth')


def test_files_of_the_old_format(ours, tmp_path):
    torch.save({'weight': torch.arange(3.0)}, tmp_path / 'x.pth', _use_new_zipfile_serialization=False)
    with data_only.data_only():
        assert torch.load(tmp_path / 'x.pth')['weight'].tolist() == [0, 1, 2]

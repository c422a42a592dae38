import os
import pickle
import re
import zipfile

import numpy as np
import pytest

from mmdmt.safe_pickle import load_pickle

PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 4)


class Call:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / 'batch'
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize('protocol', range(5))
@pytest.mark.parametrize('values', [PIXELS, np.asfortranarray(PIXELS), PIXELS[:, ::2], PIXELS[0]])
def test_reads_what_numpy_wrote(write, protocol, values):
    array = load_pickle(write(pickle.dumps({'data': values}, protocol=protocol)))['data']
    np.testing.assert_array_equal(array, values, strict=True)
    assert type(array) is np.ndarray
    assert not array.flags.writeable


def test_old_module_name_of_numpy_is_read(write):
    content = pickle.dumps(PIXELS, protocol=2)
    old, new = b'cnumpy.core.multiarray\n', b'cnumpy._core.multiarray\n'
    assert old in content or new in content
    for wanted, other in ((old, new), (new, old)):
        np.testing.assert_array_equal(load_pickle(write(content.replace(other, wanted))), PIXELS)


@pytest.mark.parametrize('protocol', range(5))
def test_reads_plain_values_and_arrays_in_them(write, protocol):
    value = {b'raw': b'\x00\xff', 'texts': ['frog', 'h\xe9'], 'mixed': (1, -2.5, None, True, 10**20)}
    read = load_pickle(write(pickle.dumps({**value, 'nested': [{'array': (PIXELS,)}]}, protocol=protocol)))
    np.testing.assert_array_equal(read.pop('nested')[0]['array'][0], PIXELS)
    assert read == value


def test_python_2_text_is_latin1(write):
    # {'data': uint8 array of 3 and 200} as Python 2 wrote it, all strings with the opcode U
    content = (
        b'\x80\x02}U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R'
        b'(K\x01K\x02\x85cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'
        b'\x89U\x02\x03\xc8tbs.'
    )
    # that it is what Python 2 wrote: the stock reader agrees
    np.testing.assert_array_equal(pickle.loads(content, encoding='latin1')['data'], [3, 200])
    np.testing.assert_array_equal(load_pickle(write(content))['data'], np.array([3, 200], np.uint8), strict=True)


@pytest.mark.parametrize('protocol', [0, 2, 4])
@pytest.mark.parametrize(
    ('function', 'name'), [(os.system, r'(posix|nt)\.system'), (eval, r'(builtins|__builtin__)\.eval')]
)
def test_calls_are_refused_and_not_made(write, tmp_path, protocol, function, name):
    flag = tmp_path / 'executed'
    source = f'touch {flag}' if function is os.system else f'open({str(flag)!r}, "w")'
    path = write(pickle.dumps({'data': [Call(function, source)]}, protocol=protocol))
    with pytest.raises(ValueError, match=rf'{re.escape(str(path))}.*refused global {name}; allowed are numpy\.core'):
        load_pickle(path)
    assert not flag.exists()
    pickle.loads(path.read_bytes())  # the pickle would have done it
    assert flag.exists() or function is eval


def test_dotted_names_do_not_get_past_the_list(write):
    # protocol 4 has attributes of attributes: module numpy, name ndarray.tofile
    content = b'\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.'
    assert pickle.loads(content) == np.ndarray.tofile
    with pytest.raises(ValueError, match=r'refused global numpy\.ndarray\.tofile'):
        load_pickle(write(content))


@pytest.mark.parametrize('fields', [(None, None), (('a',), {'a': (np.dtype('O'), 0)})])
def test_forged_dtype_gives_no_pointers_to_objects(write, fields):
    class Forged:
        """A uint8 that its state turns into an object."""

        def __reduce__(self):
            return np.dtype, ('u1', False, True), (3, '|', None, *fields, 8, 8, 63)

    class Array:
        def __reduce__(self):
            return *PIXELS.__reduce__()[:2], (1, (8,), Forged(), False, b'12345678')

    path = write(pickle.dumps(Array(), protocol=2))
    if fields == (None, None):
        np.testing.assert_array_equal(load_pickle(path), np.arange(49, 57, dtype=np.uint8), strict=True)
    else:
        with pytest.raises(ValueError, match=r"dtype 'O8'; allowed is 'u1'"):
            load_pickle(path)


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (PIXELS.astype(np.float32), "dtype 'f4'; allowed is 'u1'"),
        (np.array([None]), "dtype 'O8'"),
        (np.uint8(3), 'refused global .*scalar'),
        ({3, 4}, 'refused global|refused object'),
        (Call(np.ndarray, 3), '_Array'),
        (Call(np.dtype, 'f8'), "dtype 'f8'"),
        (np.dtype('u1'), 'refused object'),
    ],
)
def test_other_contents_are_refused(write, value, message):
    with pytest.raises(ValueError, match=message):
        load_pickle(write(pickle.dumps({'data': value}, protocol=2)))


def test_other_codecs_are_refused(write):
    content = pickle.dumps(b'\xff', protocol=2)
    assert b'latin1' in content
    with pytest.raises(ValueError, match=r"'ascii1'; allowed is 'latin1'"):
        load_pickle(write(content.replace(b'latin1', b'ascii1')))


@pytest.mark.parametrize('length', [0, 1, 10, 100, -1])
def test_truncated_file(write, length):
    path = write(pickle.dumps({'data': PIXELS, 'labels': [0, 1, 2]}, protocol=2)[:length])
    with pytest.raises(ValueError, match=f'{re.escape(str(path))} as a pickle: .'):
        load_pickle(path)


def test_array_with_too_few_bytes(write):
    content = pickle.dumps(PIXELS, protocol=4)
    assert content.count(b'K\x03K\x04\x86') == 1
    with pytest.raises(ValueError, match='cannot reshape'):
        load_pickle(write(content.replace(b'K\x03K\x04\x86', b'K\x03K\x05\x86')))


@pytest.mark.parametrize(
    'content', [b'<html>404</html>', b'\x89PNG\r\n', b'version https://git-lfs', bytes(range(256))]
)
def test_no_pickle(write, content):
    with pytest.raises(ValueError, match='as a pickle'):
        load_pickle(write(content))


def test_archive_is_no_pickle(tmp_path):
    path = tmp_path / 'archive'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('a', 'b')
    with pytest.raises(ValueError, match='as a pickle'):
        load_pickle(path)


def test_list_that_holds_itself(write):
    value = []
    value.append(value)
    with pytest.raises(ValueError, match='RecursionError'):
        load_pickle(write(pickle.dumps(value, protocol=2)))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='nothing_here'):
        load_pickle(tmp_path / 'nothing_here')

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from mmdmt.errors import DiskFullError, UnwritableError
from mmdmt.files import (
    atomic,
    check_file,
    check_folder,
    checksum,
    free_space,
    read_json,
    sweep,
    write_bytes,
    write_json,
    write_text,
)

WRITER = """
import sys, time
from mmdmt.files import atomic

with atomic(sys.argv[1]) as file:
    file.write(b'half')
    file.flush()
    print('open', flush=True)
    time.sleep(60)
"""


def names(folder):
    return sorted(path.name for path in folder.rglob('*') if path.is_file())


def temporary(folder, host, process):
    """A temporary file as ``atomic`` leaves it when its process is killed."""
    path = folder / f'.labels.json~{host}~{process}.tmp'
    path.write_bytes(b'half')
    return path


@pytest.fixture
def writer(root, tmp_path):
    """A process that has opened ``run/00_train_a/x.pth`` and never closes it."""
    path = tmp_path / 'run/00_train_a/x.pth'
    process = subprocess.Popen([sys.executable, '-c', WRITER, str(path)], cwd=root, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'open\n'
    yield process
    process.kill()
    process.communicate()


def test_file_appears_whole_and_only_at_the_end(tmp_path):
    path = tmp_path / 'new/folder/x.bin'
    with atomic(path) as file:
        file.write(b'first')
        assert names(tmp_path) == [f'.x.bin~{socket.gethostname()}~{os.getpid()}.tmp']
        file.write(b' second')
    assert path.read_bytes() == b'first second'
    with atomic(str(path)) as file:
        file.write(b'third')
        file.flush()
        assert path.read_bytes() == b'first second'
    assert path.read_bytes() == b'third'
    assert names(tmp_path) == ['x.bin']


@pytest.mark.parametrize('old', [b'old', None])
@pytest.mark.parametrize('error', [OSError, KeyboardInterrupt])
def test_block_that_raises_leaves_what_was_there(tmp_path, error, old):
    path = tmp_path / 'x.bin'
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(error), atomic(path) as file:
        file.write(b'new')
        raise error
    assert names(tmp_path) == ([] if old is None else ['x.bin'])
    assert old is None or path.read_bytes() == old


def test_file_that_cannot_be_put_in_place_is_deleted(tmp_path):
    (tmp_path / 'x/folder').mkdir(parents=True)
    with pytest.raises(OSError), atomic(tmp_path / 'x') as file:
        file.write(b'a folder cannot be replaced by a file')
    assert names(tmp_path) == []


def test_content_is_on_disk_before_it_is_put_in_place(tmp_path, monkeypatch):
    path, calls, fsync, replace = tmp_path / 'x.bin', [], os.fsync, os.replace

    def record_fsync(number):
        calls.append(('fsync', os.fstat(number).st_size, path.exists()))
        fsync(number)

    def record_replace(source, target):
        replace(source, target)
        calls.append(('replace', path.stat().st_size))

    monkeypatch.setattr(os, 'fsync', record_fsync)
    monkeypatch.setattr(os, 'replace', record_replace)
    with atomic(path) as file:
        file.write(b'12345')  # in Python's buffer only, until it is flushed
    assert calls == [('fsync', 5, False), ('replace', 5)]


@pytest.mark.parametrize('text', ['one\ntwo\r\nthree\rfour', 'größe 画像\n', ''])
def test_text_is_written_as_it_is(tmp_path, text):
    write_text(tmp_path / 'new/x.txt', text)
    assert (tmp_path / 'new/x.txt').read_bytes() == text.encode('utf-8')
    assert names(tmp_path) == ['x.txt']


def test_json(tmp_path):
    write_json(tmp_path / 'x.json', {'a': [1, None], 'ü': 0.1})
    assert (tmp_path / 'x.json').read_text() == '{\n "a": [\n  1,\n  null\n ],\n "\\u00fc": 0.1\n}'
    with pytest.raises(TypeError):
        write_json(tmp_path / 'x.json', {'b': object()})
    assert json.loads((tmp_path / 'x.json').read_text()) == {'a': [1, None], 'ü': 0.1}
    assert names(tmp_path) == ['x.json']


def test_sweep_deletes_the_file_of_a_killed_process_only(writer, tmp_path):
    left = [f'.x.pth~{socket.gethostname()}~{writer.pid}.tmp']
    assert names(tmp_path) == left
    sweep(tmp_path / 'run')
    assert names(tmp_path) == left  # it is still being written
    writer.send_signal(signal.SIGKILL)
    assert writer.wait() == -signal.SIGKILL
    assert names(tmp_path) == left
    sweep(tmp_path / 'run')
    assert names(tmp_path) == []


def test_sweep_knows_whose_a_file_is(writer, tmp_path):
    own, host = os.getpid(), socket.gethostname()
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    for name in ('x.pth', 'note.tmp', f'.x~{host}.tmp', f'.x~{host}~part.tmp', f'.x~{host}~{writer.pid}'):
        (tmp_path / name).touch()
    mine, other = temporary(tmp_path, host, own), temporary(tmp_path, f'not-{host}', writer.pid)
    sweep(tmp_path)
    assert not mine.exists()  # of a process that had this number before
    assert names(tmp_path) == sorted(
        ['x.pth', 'note.tmp', f'.x~{host}.tmp', f'.x~{host}~part.tmp', f'.x~{host}~{writer.pid}', other.name]
    )


def test_process_of_another_user_is_a_living_one(tmp_path, monkeypatch):
    def refuse(process, signal):
        raise PermissionError

    other = temporary(tmp_path, socket.gethostname(), os.getpid() + 1)
    monkeypatch.setattr(os, 'kill', refuse)
    sweep(tmp_path)
    assert other.exists()


def test_sweep_of_a_folder_that_is_not_there(tmp_path):
    sweep(tmp_path / 'nothing')
    assert not (tmp_path / 'nothing').exists()


def test_files_of_hosts_with_a_longer_name_stay(tmp_path):
    host = socket.gethostname()
    for other in (f'{host}.cluster', f'my.{host}'):
        path = tmp_path / f'.x~{other}~{2**22 + 1}.tmp'
        path.touch()
        sweep(tmp_path)
        assert path.exists()


def test_full_disk_is_named_with_file_and_sizes(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, 'No space left on device')

    (tmp_path / 'x.bin').write_bytes(b'old')
    monkeypatch.setattr(os, 'fsync', full)
    message = (
        rf'{tmp_path}/x\.bin cannot be written: the disk is full\. It needs 2\.0 MiB or more, [\d,.]+ MiB are free\.'
    )
    with pytest.raises(DiskFullError, match=message):
        write_bytes(tmp_path / 'x.bin', bytes(2**21))
    assert (tmp_path / 'x.bin').read_bytes() == b'old'
    assert names(tmp_path) == ['x.bin']


def test_free_space_of_a_folder_to_come(tmp_path):
    assert free_space(tmp_path / 'not/yet') == pytest.approx(free_space(tmp_path), rel=0.1)


def test_checksum(tmp_path):
    """CRC-32 of "123456789" is the check value of its specification."""
    (tmp_path / 'x').write_bytes(b'123456789')
    assert checksum(tmp_path / 'x') == [9, 0xCBF43926]
    (tmp_path / 'x').write_bytes(b'')
    assert checksum(tmp_path / 'x') == [0, 0]
    assert checksum(tmp_path / 'no') is None


@pytest.mark.parametrize('content', [b'', b'{"a"', b'[1]', b'null', b'\xff\xfe', b'{}\x00'])
def test_damaged_json_is_none(tmp_path, content):
    (tmp_path / 'x.json').write_bytes(content)
    assert read_json(tmp_path / 'x.json') is None
    assert read_json(tmp_path / 'no.json') is None
    write_json(tmp_path / 'x.json', {'a': 1})
    assert read_json(tmp_path / 'x.json') == {'a': 1}


@pytest.mark.parametrize('place', ['.', 'there', 'new/of/many'])
def test_folders_that_can_be_written_stay_as_they_are(tmp_path, place):
    (tmp_path / 'there').mkdir()
    check_folder(tmp_path / place)
    check_file(tmp_path / place / 'x.json')
    assert [path.name for path in tmp_path.rglob('*')] == ['there']


def test_files_that_are_written_anew_stay_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'x.json').write_text('1')
    check_file('x.json')
    assert (tmp_path / 'x.json').read_text() == '1'


def test_what_stands_in_the_way_of_a_folder_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    (tmp_path / 'link').symlink_to('nowhere')
    for place, blocked, what in [
        ('file', 'file', 'a file'),
        ('file/x/y', 'file', 'a file'),
        ('link/x', 'link', 'a link'),
    ]:
        with pytest.raises(
            UnwritableError, match=f'^{tmp_path}/{place} cannot be a folder: {tmp_path}/{blocked} is {what}'
        ):
            check_folder(tmp_path / place)
    with pytest.raises(UnwritableError, match=f'^{tmp_path}/file cannot be a folder: {tmp_path}/file is a file'):
        check_file(tmp_path / 'file/x.json')
    with pytest.raises(UnwritableError, match=f'^{tmp_path} must be a file, but is a folder'):
        check_file(tmp_path)


@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='a system without /proc')
def test_a_disk_that_cannot_be_written_is_named():
    """Permissions say that root may write there."""
    for check in (check_folder, check_file):
        with pytest.raises(UnwritableError, match=r'^/proc/new(/x)? cannot be written: /proc: '):
            check('/proc/new/x')
    with pytest.raises(UnwritableError, match=r'^/dev/null must be a file, but is a device'):
        check_file('/dev/null')


@pytest.mark.skipif(not os.path.exists('/dev/stdout'), reason='a system without /dev/stdout')
def test_the_standard_output_is_not_replaced_by_a_file(tmp_path):
    """Led into a file, it looks like one."""
    code = "from mmdmt.files import check_file; check_file('/dev/stdout')"
    with open(tmp_path / 'out', 'wb') as out:
        done = subprocess.run([sys.executable, '-c', code], stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith('UnwritableError: /dev/stdout must be a file, but is a device\n')


def test_relative_file_in_the_place_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').touch()
    with pytest.raises(UnwritableError, match=f'^{tmp_path}/file cannot be a folder'):
        check_file('file/x.json')


@pytest.mark.parametrize('check', [check_file, check_folder])
def test_names_that_are_too_long(tmp_path, check):
    with pytest.raises(UnwritableError, match='x cannot be written: File name too long'):
        check(tmp_path / ('x' * 300))


@pytest.mark.skipif(not os.path.isdir('/dev/shm'), reason='a system without a disk in memory')
def test_files_in_memory_are_files():
    path = f'/dev/shm/mmdmt-test-{os.getpid()}'
    write_text(path, '')
    try:
        check_file(path)
    finally:
        os.unlink(path)


@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() != 0, reason='only root can become another user')
@pytest.mark.parametrize('place', ['locked/x.json', 'locked/a/x.json', 'link/x.json'])
def test_folders_of_another_user(tmp_path, place):
    """Root may look everywhere, others may not."""
    (tmp_path / 'locked/in').mkdir(parents=True)
    (tmp_path / 'link').symlink_to(tmp_path / 'locked/in')
    (tmp_path / 'locked').chmod(0o700)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    process = os.fork()
    if process == 0:
        status = 1
        try:
            os.setuid(65534)
            for check in (check_file, check_folder):
                with pytest.raises(UnwritableError):
                    check(tmp_path / place)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0

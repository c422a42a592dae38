import errno
import shutil
import subprocess
import tarfile
import threading

import pytest

from mmdmt.errors import DiskFullError
from mmdmt.labels import archives
from mmdmt.labels.archives import ArchiveWriter, Place, archive_path, read_file

FILES = {'labels/a.png': b'a' * 700, 'confidence/a.zst': b'b' * 512, 'labels/' + 'ö' * 90 + '.png': b'', 'x': b'c'}


@pytest.fixture
def writer(tmp_path):
    return ArchiveWriter(tmp_path / 'archives')


def read_all(writer, places, files):
    return {name: read_file(writer.folder, place, len(files[name])) for name, place in zip(files, places, strict=True)}


def test_files_come_back_before_and_after_the_end(writer):
    places = writer.write(FILES)
    assert read_all(writer, places, FILES) == FILES
    writer.close()
    assert read_all(writer, places, FILES) == FILES


def test_tar_programs_read_them(writer, tmp_path):
    writer.write(FILES)
    writer.close()
    with tarfile.open(archive_path(writer.folder, 0)) as tar:
        assert {name: tar.extractfile(name).read() for name in tar.getnames()} == FILES
    if shutil.which('tar'):
        subprocess.run(['tar', 'xf', archive_path(writer.folder, 0), '-C', tmp_path], check=True)
        assert {name: (tmp_path / name).read_bytes() for name in FILES} == FILES


def test_archive_of_a_killed_process_is_read_and_not_written_again(writer):
    places = writer.write(FILES)
    other = ArchiveWriter(writer.folder)
    assert {place.archive for place in other.write(FILES)} == {1}
    assert read_all(writer, places, FILES) == FILES
    with tarfile.open(archive_path(writer.folder, 0)) as tar:
        assert tar.getnames() == list(FILES)


def test_new_archive_after_a_size(writer, monkeypatch):
    monkeypatch.setattr(archives, 'SIZE', 3000)
    places = [place for _ in range(3) for place in writer.write({'a': bytes(1000)})]
    writer.close()
    assert places == [Place(0, 512), Place(0, 2048), Place(1, 512)]
    assert all(tarfile.is_tarfile(archive_path(writer.folder, number)) for number in (0, 1))


def test_what_is_written_after_the_end_goes_into_a_new_archive(writer):
    writer.close()
    assert not writer.folder.exists()
    writer.write(FILES)
    writer.close()
    assert writer.write({'a': b''})[0].archive == 1


def test_threads_do_not_mix(writer):
    found = {}

    def write(number):
        content = {f'{number}-{part}': bytes([number]) * (100 * number + part) for part in range(20)}
        for name, value in content.items():
            found[name] = (*writer.write({name: value}), value)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 160
    assert all(read_file(writer.folder, place, len(value)) == value for place, value in found.values())


def test_archive_that_ends_early_gives_less(writer):
    (place,) = writer.write({'a': b'content'})
    path = archive_path(writer.folder, 0)
    path.write_bytes(path.read_bytes()[: place.offset + 3])
    assert read_file(writer.folder, place, 7) == b'con'
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r'archives.00000\.tar'):
        read_file(writer.folder, place, 7)


def test_full_disk_is_said_and_leaves_what_was_written(writer, monkeypatch):
    places = writer.write(FILES)
    begin = writer._begin

    class Full:
        def __init__(self, file):
            self.file = file

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, content):
            self.file.write(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, 'No space left on device')

    writer._file = Full(writer._file)
    with pytest.raises(DiskFullError, match=r'archives.00000\.tar cannot be written: the disk is full.*--resume'):
        writer.write({'b': bytes(9000)})
    assert read_all(writer, places, FILES) == FILES
    monkeypatch.setattr(writer, '_begin', begin)
    assert writer.write({'b': b''})[0].archive == 1


def test_other_errors_pass(writer):
    writer.folder.parent.joinpath('archives').write_text('a file')
    with pytest.raises(FileExistsError):
        writer.write({'a': b''})

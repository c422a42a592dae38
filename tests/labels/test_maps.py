import json
import os
import pickle
import tarfile
import time

import numpy as np
import pytest
import torch
from PIL import Image

from mmdmt.core.ranking import ClassHistogram
from mmdmt.errors import DamagedFileError
from mmdmt.files import checksum, write_json
from mmdmt.labels import store as label_store
from mmdmt.labels.maps import FORMAT, LabelMaps
from mmdmt.labels.store import sample_name

PALETTE = [[0, 0, 0], [200, 30, 40], [10, 220, 50]]
LABEL = np.array([[0, 1, 2], [2, 1, 0]], dtype=np.uint8)
CODE = np.array([[0, 1, 255], [256, 40000, 65535]], dtype=np.uint16)
PATHS = ['a/frame.png', 'b/frame.png', 'c/other.png']
NAMES = ['000000_frame', '000001_frame', '000002_other']


def histogram():
    result = ClassHistogram(3)
    result.update(torch.from_numpy(LABEL), torch.from_numpy(CODE.astype(np.int32)))
    return result


@pytest.fixture(params=[False, True], ids=['files', 'archives'])
def archives(request):
    """Whether labels lie in archives."""
    return request.param


@pytest.fixture
def store(tmp_path, archives):
    store = LabelMaps(tmp_path / 'labels_of_b', PALETTE, archives)
    for name in NAMES:
        store.write(name, LABEL, CODE)
    store.close()
    store.finish(histogram(), coverage=0.25)
    return store


@pytest.fixture
def png(store):
    """Extract the class map of an image."""

    def png(name):
        path = store.label_path(name)
        if not path.exists():
            with tarfile.open(store.root / 'archives/00000.tar') as tar:
                tar.extractall(store.root, filter='data')
        return path

    return png


@pytest.mark.parametrize(
    ('index', 'path', 'name'),
    [
        (7, 'x/a\nb\r.png', '000007_a_b_'),
        (0, 'x/y/frame.png', '000000_frame'),
        (41, 'frame.v2.jpg', '000041_frame.v2'),
        (1234567, 'f', '1234567_f'),
    ],
)
def test_sample_name(index, path, name):
    assert sample_name(index, path) == name


@pytest.mark.parametrize('palette', [None, PALETTE])
@pytest.mark.parametrize('name', ['000000_frame', '000041_frame.v2'])
def test_round_trip(tmp_path, palette, name, archives):
    store = LabelMaps(tmp_path, palette, archives)
    store.write(name, LABEL, CODE)
    label, code = store.read(name)
    assert (label.dtype, code.dtype) == (np.uint8, np.uint16)
    np.testing.assert_array_equal(label, LABEL)
    np.testing.assert_array_equal(code, CODE)
    assert store.names() == {name}
    assert not list(tmp_path.rglob('*.tmp'))


@pytest.mark.parametrize('num_colours', [1, 2, 3, 16, 17, 256, 300])
def test_every_class_index_survives_any_palette(tmp_path, num_colours):
    label = np.arange(255, dtype=np.uint8).reshape(15, 17)
    store = LabelMaps(tmp_path, [[index % 256] * 3 for index in range(num_colours)])
    store.write('x', label, np.zeros((15, 17), np.uint16))
    np.testing.assert_array_equal(store.read('x')[0], label)


def test_class_map_shows_the_palette(png):
    with Image.open(png(NAMES[0])) as image:
        assert image.mode == 'P'
        colours = np.asarray(image.convert('RGB'))
    np.testing.assert_array_equal(colours, np.array(PALETTE)[LABEL])


def test_class_map_without_a_palette_is_gray(tmp_path):
    LabelMaps(tmp_path).write(NAMES[0], LABEL, CODE)
    with Image.open(LabelMaps(tmp_path).label_path(NAMES[0])) as image:
        assert image.mode == 'P'
        np.testing.assert_array_equal(np.asarray(image.convert('RGB')), np.repeat(LABEL[..., None], 3, axis=2))


def test_a_second_write_replaces_the_first(store):
    store.write(NAMES[0], LABEL[:1] + 1, CODE[:1] // 2)
    label, code = store.read(NAMES[0])
    assert label.tolist() == [[1, 2, 3]]
    assert code.tolist() == [[0, 0, 127]]


def test_image_counts_only_with_its_class_map_in_place(tmp_path, monkeypatch):
    store = LabelMaps(tmp_path)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Image.Image, 'save', killed)
        store.write('x', LABEL, CODE)
    assert store.names() == set()
    with pytest.raises(FileNotFoundError, match=r'labels.x\.png'):
        store.read('x')
    store.write('x', LABEL, CODE)
    assert store.names() == {'x'}


def test_half_written_class_map_does_not_count(tmp_path, monkeypatch):
    store = LabelMaps(tmp_path)

    def killed(image, file, **_):
        file.write(b'\x89PNG')
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Image.Image, 'save', killed)
        store.write('x', LABEL, CODE)
    assert store.names() == set()
    assert not [path.name for path in tmp_path.rglob('*') if path.name.startswith('.')]


def test_complete_only_with_labels_json(tmp_path):
    store = LabelMaps(tmp_path / 'not' / 'yet')
    assert not store.complete
    assert store.names() == set()
    store.write('x', LABEL, CODE)
    assert not store.complete
    with pytest.raises(FileNotFoundError, match=r'labels\.json: the pseudo labels are not complete'):
        store.info()
    with pytest.raises(FileNotFoundError, match='not complete'):
        store.check_names(['x'])
    store.finish(histogram())
    assert store.complete


def test_labels_json_is_written_last(tmp_path, monkeypatch):
    store = LabelMaps(tmp_path)
    store.write('x', LABEL, CODE)
    with monkeypatch.context() as patch, pytest.raises(OSError, match='disk full'):
        patch.setattr(np, 'savez_compressed', lambda *_, **__: (_ for _ in ()).throw(OSError('disk full')))
        store.finish(histogram())
    assert not store.complete
    with monkeypatch.context() as patch, pytest.raises(OSError, match='disk full'):
        patch.setattr(label_store, 'write_json', lambda *_: (_ for _ in ()).throw(OSError('disk full')))
        store.finish(histogram())
    assert not store.complete
    assert torch.equal(store.histogram().counts, histogram().counts)


def test_info_and_histogram(store):
    info = store.info()
    assert (info['num_images'], info['num_classes'], info['coverage']) == (3, 3, 0.25)
    assert torch.equal(store.histogram().counts, histogram().counts)


@pytest.mark.parametrize(
    ('paths', 'same'),
    [
        (PATHS, True),
        ([path.replace('/frame', '/deeper/frame') for path in PATHS], True),  # a moved data_root
        ([PATHS[2], PATHS[1], PATHS[0]], False),
        (PATHS[:2], False),
        ([*PATHS, 'd/more.png'], False),
        ([*PATHS[:2], 'c/else.png'], False),
    ],
)
def test_check_names(store, paths, same):
    names = [sample_name(index, path) for index, path in enumerate(paths)]
    if same:
        store.check_names(names)
    else:
        with pytest.raises(ValueError, match=rf'labels of 3 images, but not of the {len(paths)} images'):
            store.check_names(names)


def test_discard_keeps_what_tells_about_the_labels(store):
    store.discard()
    assert store.names() == set()
    assert sorted(path.name for path in store.root.iterdir()) == ['histogram.npz', 'labels.json']
    assert store.complete
    store.check_names(NAMES)
    assert torch.equal(store.histogram().counts, histogram().counts)
    store.discard()


def test_failed_write_json_leaves_the_old_file(tmp_path):
    path = tmp_path / 'new' / 'file.json'
    write_json(path, {'a': 1})
    with pytest.raises(TypeError):
        write_json(path, {'b': 2, 'c': object()})
    assert json.loads(path.read_text()) == {'a': 1}


@pytest.mark.parametrize('number', [0, 70_000])
def test_histogram_of_many_codes_is_small_and_comes_back(tmp_path, number):
    generator = torch.Generator().manual_seed(0)
    many = ClassHistogram(4)
    many.update(
        torch.randint(0, 3, (number,), generator=generator),
        65535 - torch.randint(0, 500, (number,), generator=generator),
    )
    store = LabelMaps(tmp_path)
    store.finish(many)
    loaded = store.histogram()
    assert (loaded.num_classes, int(loaded.counts.sum())) == (4, number)
    assert torch.equal(loaded.counts, many.counts)
    assert (tmp_path / 'histogram.npz').stat().st_size < 10_000


@pytest.fixture
def earlier(tmp_path):
    """A complete store of an earlier version."""
    store = LabelMaps(tmp_path / 'labels_of_b')
    for name in NAMES:
        store.write(name, LABEL, CODE)
    store.finish(histogram())
    of_earlier_version(store)
    return store


def of_earlier_version(store):
    """Turn a complete store into one of the version without a mark, whose codes were stored as arrays."""
    info = json.loads((store.root / 'labels.json').read_text())
    del info['format']
    for name in NAMES:
        store.confidence_path(name).unlink()
        np.save(store.confidence_path(name).with_suffix('.npy'), CODE)
    with np.load(store.root / 'histogram.npz') as data:
        np.savez(store.root / 'histogram.npz', **{key: data[key] for key in data if key != 'format'})
    info['files']['histogram.npz'] = checksum(store.root / 'histogram.npz')
    write_json(store.root / 'labels.json', info)


def test_labels_of_an_earlier_version_are_refused(earlier):
    for read in (earlier.info, earlier.histogram, lambda: earlier.select(NAMES, 0.5)):
        with pytest.raises(DamagedFileError, match=r'labels_of_b.*: labels of an earlier version of mmdmt, .* again'):
            read()


def test_labels_of_an_earlier_version_are_made_anew(earlier):
    assert earlier.repair() == 'labels.json, of an earlier version of mmdmt,'
    assert not earlier.complete
    assert not list(earlier.root.rglob('*.npy'))
    for name in NAMES:
        earlier.write(name, LABEL, CODE)
    earlier.finish(histogram())
    assert earlier.repair() is None
    assert earlier.info()['format'] == FORMAT


def test_unfinished_labels_of_an_earlier_version_do_not_count(earlier):
    (earlier.root / 'labels.json').unlink()
    assert earlier.names() == set()


@pytest.fixture
def half(tmp_path, archives):
    """A store of two images that is not complete."""
    store = LabelMaps(tmp_path / 'half', archives=archives)
    for name in NAMES[:2]:
        store.write(name, LABEL, CODE)
    return store


@pytest.mark.parametrize(
    ('content', 'found'),
    [
        (lambda text: text[: len(text) * 3 // 4], NAMES[:1]),
        (lambda text: '', []),
        (lambda text: text.replace('\t', ' ', 1), NAMES[1:2]),
        (lambda text: '\0' * 20 + text[20:], NAMES[1:2]),
        (lambda text: text + 'x\n\n\t\t\t\t\nx\t1\t2\t3\n', NAMES[:2]),
        (lambda text: text * 2, NAMES[:2]),
    ],
    ids=['truncated', 'empty', 'changed', 'zeroed', 'stray lines', 'twice'],
)
def test_image_without_a_whole_line_in_a_part_is_labeled_anew(half, content, found):
    (part,) = half.parts()
    part.write_text(content(part.read_text()))
    assert LabelMaps(half.root).names() == set(found)


@pytest.mark.parametrize('archives', [False], indirect=True)
@pytest.mark.parametrize('file', ['label_path', 'confidence_path'])
@pytest.mark.parametrize('content', [None, b'', b'half'])
def test_image_with_a_damaged_file_is_labeled_anew(half, file, content):
    path = getattr(half, file)(NAMES[0])
    path.unlink() if content is None else path.write_bytes(content)
    assert LabelMaps(half.root).names() == {NAMES[1]}
    half.write(NAMES[0], LABEL, CODE)
    assert LabelMaps(half.root).names() == set(NAMES[:2])


@pytest.mark.parametrize('folder', ['labels', 'confidence'])
@pytest.mark.parametrize('complete', [False, True])
@pytest.mark.parametrize(('minutes', 'found'), [(1, True), (5, False)])
def test_zeros_of_a_power_failure_are_looked_for_in_the_last_files(half, archives, folder, complete, minutes, found):
    """Sizes are right; older files are read when they are used."""
    half.close()
    later = LabelMaps(half.root, archives=archives)  # of another process
    later.write(NAMES[2], LABEL, CODE)
    later.close()
    if complete:
        later.finish(histogram())
    files = [half.label_path(NAMES[0]), half.confidence_path(NAMES[0])]
    if archives:
        files = [min(half.root.glob('archives/*'))]
    path = next(path for path in files if archives or path.parent.name == folder)
    content = bytearray(path.read_bytes())
    if archives:
        with tarfile.open(path) as tar:
            member = next(member for member in tar if member.name.startswith(folder))
        content[member.offset_data : member.offset_data + member.size] = bytes(member.size)
    else:
        content = bytes(len(content))
    path.write_bytes(content)
    for path in files:
        set_age(path, minutes)
    store = LabelMaps(half.root)
    if complete:
        assert (store.repair() is not None) == found
    assert store.lost() == ({NAMES[0]} if found else set())


def test_stray_files_do_not_count(half):
    for path in ('labels/Thumbs.db', 'labels/z.png', 'confidence/z.zst', 'part-x.csv', 'labels/folder.png/x'):
        (half.root / path).parent.mkdir(exist_ok=True)
        (half.root / path).write_bytes(b'x\n')
    assert LabelMaps(half.root).names() == set(NAMES[:2])
    half.finish(histogram())
    assert LabelMaps(half.root).repair() is None
    assert half.info()['num_images'] == 2


def test_names_that_lead_out_of_the_store_are_not_followed(half, tmp_path):
    """``checksums.csv`` of a work dir that was copied from elsewhere may list anything."""
    outside = tmp_path / 'outside.png'
    outside.touch()
    half.finish(histogram())
    with open(half.root / 'checksums.csv', 'a') as file:
        file.write('../../outside\t1\t2\t3\t4\n')
    half.finish(histogram())
    assert LabelMaps(half.root).repair() is None
    LabelMaps(half.root).forget(LabelMaps(half.root).names())
    assert outside.exists()


def test_parts_are_gone_once_the_store_is_complete(half):
    assert [path.name for path in half.parts()] == ['part-0.csv']
    half.finish(histogram())
    assert half.parts() == []
    assert LabelMaps(half.root).names() == set(NAMES[:2])


def test_forgotten_images_are_labeled_anew(half):
    half.forget([NAMES[0], 'no such image'])
    assert LabelMaps(half.root).names() == {NAMES[1]}


def test_what_is_forgotten_is_not_listed(half):
    half.forget([NAMES[0]])
    half.finish(histogram())
    assert NAMES[0] not in (half.root / 'checksums.csv').read_text()
    assert LabelMaps(half.root).repair() is None


def test_image_that_is_forgotten_can_be_written_again(half):
    half.forget([NAMES[0]])
    half.write(NAMES[0], LABEL, CODE // 2)
    assert LabelMaps(half.root).names() == set(NAMES[:2])
    np.testing.assert_array_equal(half.read(NAMES[0])[1], CODE // 2)


# Archives


@pytest.fixture
def packed(tmp_path):
    """A complete store with two archives: of two images, and of one."""
    root = tmp_path / 'packed'
    for names in (NAMES[:2], NAMES[2:]):
        store = LabelMaps(root, archives=True)
        for name in names:
            store.write(name, LABEL, CODE)
        store.close()
    LabelMaps(root).finish(histogram())
    return LabelMaps(root)


def set_age(path, minutes):
    """Set when a file was written."""
    then = time.time_ns() - minutes * 60 * 10**9
    os.utime(path, ns=(then, then))


def rot(path, name):
    """Change bytes of an image, but not the size of its archive."""
    with tarfile.open(path) as tar:
        member = tar.getmember(f'confidence/{name}.zst')
    content = bytearray(path.read_bytes())
    content[member.offset_data + member.size - 2 : member.offset_data + member.size] = b'ab'
    path.write_bytes(content)


def make_anew(root, names):
    """Label what is missing, as a resumed run does."""
    store = LabelMaps(root, archives=True)
    assert store.names() == set(NAMES) - set(names)
    for name in names:
        store.write(name, LABEL, CODE)
    store.close()
    store.finish(histogram())
    assert LabelMaps(root).repair() is None
    for name in NAMES:
        np.testing.assert_array_equal(LabelMaps(root).read(name)[1], CODE)


def test_files_of_packed_labels(packed):
    found = sorted(path.relative_to(packed.root).as_posix() for path in packed.root.rglob('*') if path.is_file())
    assert found == ['archives/00000.tar', 'archives/00001.tar', 'checksums.csv', 'histogram.npz', 'labels.json']
    assert packed.repair() is None


def test_packed_labels_unpack_to_the_ordinary_layout(packed, tmp_path):
    plain = LabelMaps(tmp_path / 'plain')
    plain.write(NAMES[2], LABEL, CODE)
    with tarfile.open(packed.root / 'archives/00001.tar') as tar:
        tar.extractall(packed.root, filter='data')
    for path in (plain.label_path(NAMES[2]), plain.confidence_path(NAMES[2])):
        assert (packed.root / path.relative_to(plain.root)).read_bytes() == path.read_bytes()


def test_packed_labels_are_read_by_other_processes(packed):
    packed.read(NAMES[0])
    copy = pickle.loads(pickle.dumps(packed))
    np.testing.assert_array_equal(copy.read(NAMES[1])[0], LABEL)


@pytest.mark.parametrize('keep', [0, 0.4, None])
def test_only_what_a_lost_archive_held_is_made_anew(packed, keep):
    path = packed.root / 'archives/00000.tar'
    if keep is None:
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes(content[: int(keep * len(content))])
    lost = NAMES[:2] if not keep else NAMES[1:2]
    assert packed.lost() == set(lost)
    assert packed.repair() == f'archives/00000.tar: labels/{lost[0]}.png or its confidence'
    make_anew(packed.root, lost)


def test_rot_in_an_archive_is_found(packed):
    rot(packed.root / 'archives/00000.tar', NAMES[1])
    assert packed.repair() == f'archives/00000.tar: labels/{NAMES[1]}.png or its confidence'
    make_anew(packed.root, [NAMES[1]])


def test_rot_that_is_found_in_training_is_mended(packed):
    """The next attempt does not read all labels, but knows what was found."""
    path = packed.root / 'archives/00000.tar'
    rot(path, NAMES[0])
    set_age(path, minutes=5)
    assert packed.repair() is None
    with pytest.raises(DamagedFileError, match=r'00000\.tar: labels.000000_frame\.png, or its confidence, is not as'):
        packed.select(NAMES, 1.0).fields(0, NAMES[0])
    assert LabelMaps(packed.root).repair() is not None
    make_anew(packed.root, [NAMES[0]])


def test_missing_archive_is_said(packed):
    (packed.root / 'archives/00001.tar').unlink()
    with pytest.raises(DamagedFileError, match=r'00001\.tar is missing; --resume makes it anew'):
        packed.select(NAMES, 1.0).fields(2, NAMES[2])


def test_archives_and_files_of_one_store(packed):
    packed.forget([NAMES[0]])
    (packed.root / 'labels.json').unlink()
    store = LabelMaps(packed.root)
    store.write(NAMES[0], LABEL, CODE)
    store.finish(histogram())
    assert LabelMaps(packed.root).repair() is None
    for name in NAMES:
        np.testing.assert_array_equal(LabelMaps(packed.root).read(name)[1], CODE)


def test_forged_places_are_not_followed(packed, tmp_path):
    """An archive's number is no path, and what lies elsewhere in an archive has another checksum."""
    path = packed.root / 'checksums.csv'
    path.write_text(path.read_text().replace('\t0:', '\t../0:'))
    with pytest.raises(FileNotFoundError):
        LabelMaps(packed.root).read(NAMES[0])
    path.write_text(path.read_text().replace('\t../0:', '\t1:'))
    LabelMaps(packed.root).read(NAMES[0])  # the same content
    path.write_text(path.read_text().replace('\t1:', '\t1:9'))
    with pytest.raises(DamagedFileError):
        LabelMaps(packed.root).read(NAMES[0])


def test_archive_that_ends_in_its_last_image(packed):
    path = packed.root / 'archives/00000.tar'
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1]
    os.truncate(path, last.offset_data + last.size - 1)
    assert packed.lost() == {NAMES[1]}
    make_anew(packed.root, [NAMES[1]])


def test_image_that_is_written_after_another_was_read(half):
    half.read(NAMES[0])
    half.write(NAMES[2], LABEL, CODE)
    half.write(NAMES[0], LABEL, CODE // 2)
    np.testing.assert_array_equal(half.read(NAMES[2])[1], CODE)
    np.testing.assert_array_equal(half.read(NAMES[0])[1], CODE // 2)


@pytest.mark.parametrize('number', ['999999999999999999', '99999999999999999999'])
@pytest.mark.parametrize('field', [1, 3, 5])
def test_forged_sizes_and_places_take_no_memory(packed, number, field):
    path = packed.root / 'checksums.csv'
    cells = path.read_text().splitlines()[0].split('\t')
    cells[field] = f'0:{number}:512' if field == 5 else number
    path.write_text('\t'.join(cells) + '\n')
    store = LabelMaps(packed.root)
    assert store.names() == set()
    with pytest.raises((DamagedFileError, FileNotFoundError)):
        store.read(NAMES[0])


def test_each_damaged_image_is_dropped_once_and_the_others_are_read(packed):
    for name in NAMES[:2]:
        rot(packed.root / 'archives/00000.tar', name)
    for name in NAMES[:2]:
        with pytest.raises(DamagedFileError):
            packed.read(name)
    np.testing.assert_array_equal(packed.read(NAMES[2])[1], CODE)
    assert LabelMaps(packed.root).lost() == set(NAMES[:2])
    make_anew(packed.root, NAMES[:2])

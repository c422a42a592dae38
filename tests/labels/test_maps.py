import json

import numpy as np
import pytest
import torch
from PIL import Image

from mmdmt.core.ranking import ClassHistogram
from mmdmt.errors import DamagedFileError
from mmdmt.files import checksum, write_json
from mmdmt.labels import store as label_store
from mmdmt.labels.maps import FORMAT, LabelMaps, SelectedPixels
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


@pytest.fixture
def store(tmp_path):
    store = LabelMaps(tmp_path / 'labels_of_b', PALETTE)
    for name in NAMES:
        store.write(name, LABEL, CODE)
    store.finish(histogram(), coverage=0.25)
    return store


@pytest.mark.parametrize(
    ('index', 'path', 'name'),
    [(0, 'x/y/frame.png', '000000_frame'), (41, 'frame.v2.jpg', '000041_frame.v2'), (1234567, 'f', '1234567_f')],
)
def test_sample_name(index, path, name):
    assert sample_name(index, path) == name


@pytest.mark.parametrize('palette', [None, PALETTE])
@pytest.mark.parametrize('name', ['000000_frame', '000041_frame.v2'])
def test_round_trip(tmp_path, palette, name):
    store = LabelMaps(tmp_path, palette)
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


def test_class_map_shows_the_palette(store):
    with Image.open(store.label_path(NAMES[0])) as image:
        assert image.mode == 'P'
        colours = np.asarray(image.convert('RGB'))
    np.testing.assert_array_equal(colours, np.array(PALETTE)[LABEL])


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


def test_selected_pixels_are_read_with_their_confidence(tmp_path):
    """The threshold itself is kept; all others become 255, with their confidence beside them."""
    store = LabelMaps(tmp_path)
    code = np.array([[299, 300, 301, 65535, 0]], np.uint16)
    store.write('x', np.array([[0, 0, 0, 1, 1]], np.uint8), code)
    fields = SelectedPixels(store, 1, np.array([300, 65535], np.uint16)).fields(0, 'x')
    (pseudo_label,) = fields.values()
    assert list(fields) == ['pseudo_label']
    assert pseudo_label.label.dtype == np.uint8
    assert pseudo_label.label.tolist() == [[255, 0, 0, 1, 255]]
    assert pseudo_label.confidence.dtype == np.float32
    expected = 1 / (1 + np.exp(6 - code.astype(np.float64) / 65535 * 48))
    np.testing.assert_allclose(pseudo_label.confidence, expected, rtol=1e-5)
    assert pseudo_label.path == str(store.label_path('x'))


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


def test_labels_of_an_earlier_version_are_refused(store):
    of_earlier_version(store)
    for read in (store.info, store.histogram, lambda: store.select(NAMES, 0.5)):
        with pytest.raises(DamagedFileError, match=r'labels_of_b.*: labels of an earlier version of mmdmt, .* again'):
            read()


def test_labels_of_an_earlier_version_are_made_anew(store):
    of_earlier_version(store)
    assert store.repair() == 'labels.json, of an earlier version of mmdmt,'
    assert not store.complete
    assert not list(store.root.rglob('*.npy'))
    for name in NAMES:
        store.write(name, LABEL, CODE)
    store.finish(histogram())
    assert store.repair() is None
    assert store.info()['format'] == FORMAT


def test_unfinished_labels_of_an_earlier_version_do_not_count(store):
    of_earlier_version(store)
    (store.root / 'labels.json').unlink()
    assert store.names() == set()


@pytest.fixture
def half(tmp_path):
    """A store of two images that is not complete."""
    store = LabelMaps(tmp_path / 'half')
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


@pytest.mark.parametrize('file', ['label_path', 'confidence_path'])
@pytest.mark.parametrize('content', [None, b'', b'half'])
def test_image_with_a_damaged_file_is_labeled_anew(half, file, content):
    path = getattr(half, file)(NAMES[0])
    path.unlink() if content is None else path.write_bytes(content)
    assert LabelMaps(half.root).names() == {NAMES[1]}
    half.write(NAMES[0], LABEL, CODE)
    assert LabelMaps(half.root).names() == set(NAMES[:2])


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

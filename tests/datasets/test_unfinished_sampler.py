import numpy as np
import pytest
from mmengine.registry import DATA_SAMPLERS

from mmdmt.datasets import unfinished_sampler
from mmdmt.datasets.unfinished_sampler import UnfinishedSampler
from mmdmt.labels.maps import LabelMaps
from mmdmt.labels.table import LabelRow, LabelTable


@pytest.fixture
def set_rank(monkeypatch):
    def set_rank(rank, world_size):
        monkeypatch.setattr(unfinished_sampler, 'get_dist_info', lambda: (rank, world_size))

    return set_rank


class Named:
    """What UnfinishedSampler needs of an UnlabeledDataset."""

    def __len__(self):
        return 10

    def name(self, index):
        return f'{index:06d}_x'


@pytest.fixture
def label_dir(tmp_path):
    store = LabelMaps(tmp_path)
    for index in (0, 3, 4, 9):
        store.write(Named().name(index), np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint16))
    store.confidence_path(Named().name(5)).write_bytes(b'')  # written, but without its class map
    return str(tmp_path)


@pytest.mark.parametrize(
    ('world_size', 'shares'),
    [
        (1, [[1, 2, 5, 6, 7, 8]]),
        (2, [[1, 5, 7], [2, 6, 8]]),
        (4, [[1, 7], [2, 8], [5], [6]]),
        (7, [[1], [2], [5], [6], [7], [8], []]),
    ],
)
def test_unfinished_images_are_split_over_ranks(set_rank, label_dir, world_size, shares):
    for rank, share in enumerate(shares):
        set_rank(rank, world_size)
        config = {'type': 'UnfinishedSampler', 'label_dir': label_dir}
        source = DATA_SAMPLERS.build(config, default_args={'dataset': Named(), 'seed': 0})
        assert list(source) == list(source) == share
        assert len(source) == len(share)


def test_all_images_of_a_new_store(tmp_path):
    assert list(UnfinishedSampler(Named(), str(tmp_path / 'new'))) == list(range(10))


@pytest.mark.parametrize(
    ('world_size', 'shares'),
    [
        (1, [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]),
        (2, [[0, 1, 2, 6, 7, 8], [3, 4, 5, 9]]),
        (3, [[0, 1, 2, 9], [3, 4, 5], [6, 7, 8]]),
    ],
)
def test_batches_are_those_of_an_undisturbed_process(set_rank, tmp_path, world_size, shares):
    """Of a batch that is only partly labeled, all images are labeled again; a whole one is left out."""
    store = LabelMaps(tmp_path)
    for rank, share in enumerate(shares):
        set_rank(rank, world_size)
        assert list(UnfinishedSampler(Named(), str(tmp_path), batch_size=3)) == share
    for index in (3, 4, 5, 7):
        store.write(Named().name(index), np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint16))
    set_rank(0, 1)
    assert list(UnfinishedSampler(Named(), str(tmp_path), batch_size=3)) == [0, 1, 2, 6, 7, 8, 9]


def test_all_ranks_take_the_first_ones_view(set_rank, monkeypatch, tmp_path):
    """Rank 0 has seen no labels yet; rank 1, which looks later, finds one that rank 0 wrote meanwhile."""
    set_rank(1, 2)
    LabelMaps(tmp_path).write(Named().name(0), np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint16))

    def broadcast(objects):
        objects[0] = [[index] for index in range(10)]

    monkeypatch.setattr(unfinished_sampler, 'broadcast_object_list', broadcast)
    assert list(UnfinishedSampler(Named(), str(tmp_path))) == [1, 3, 5, 7, 9]


@pytest.mark.parametrize(('world_size', 'shares'), [(1, [[1, 2, 5, 6, 7, 8]]), (4, [[1, 7], [2, 8], [5], [6]])])
def test_unfinished_images_of_a_table(set_rank, tmp_path, world_size, shares):
    for part in ((3, 9), (0, 4)):  # of two processes
        LabelTable(tmp_path).append([LabelRow(Named().name(index), 0, 1.0) for index in part])
    with open(tmp_path / 'part-1.csv', 'a') as file:
        file.write(f'{Named().name(5)},0,0.731059,1,')  # killed before the end of the line
    for rank, share in enumerate(shares):
        set_rank(rank, world_size)
        config = {'type': 'UnfinishedSampler', 'label_dir': str(tmp_path), 'store': 'table'}
        source = DATA_SAMPLERS.build(config, default_args={'dataset': Named(), 'seed': 0})
        assert list(source) == share
        assert len(source) == len(share)


def test_no_image_of_a_complete_table_is_unfinished(tmp_path):
    table = LabelTable(tmp_path)
    assert list(UnfinishedSampler(Named(), str(tmp_path), store='table')) == list(range(10))
    table.append([LabelRow(name, 0, 1.0) for name in (*map(Named().name, range(10)), '000099_z')])
    table.finish()
    assert list(UnfinishedSampler(Named(), str(tmp_path), store='table')) == []
    assert '000099_z' in LabelTable(tmp_path).names()  # nothing is dropped from a complete store
    # what a store of the other kind holds does not count
    assert list(UnfinishedSampler(Named(), str(tmp_path))) == list(range(10))


@pytest.mark.parametrize('kind', ['maps', 'table'])
def test_labels_of_other_images_are_dropped(tmp_path, kind):
    names = [Named().name(3), '000003_y', '000099_x']
    if kind == 'maps':
        store = LabelMaps(tmp_path)
        for name in names:
            store.write(name, np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint16))
    else:
        store = LabelTable(tmp_path)
        store.append([LabelRow(name, 0, 1.0) for name in names])
    assert list(UnfinishedSampler(Named(), str(tmp_path), store=kind)) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert type(store)(tmp_path).names() == {names[0]}


def test_lost_labels_are_named_in_one_line(label_dir, monkeypatch):
    said = []
    monkeypatch.setattr(unfinished_sampler, 'print_log', lambda text, *_: said.append(text))
    LabelMaps(label_dir).label_path(Named().name(3)).unlink()
    LabelMaps(label_dir).confidence_path(Named().name(9)).write_bytes(b'')
    path = LabelMaps(label_dir).label_path(Named().name(4))
    path.write_bytes(bytes(path.stat().st_size))  # as after a power failure
    assert list(UnfinishedSampler(Named(), label_dir)) == list(range(1, 10))
    assert said == [f'{label_dir}: labels of 3 images are missing or damaged, e.g. 000003_x; they are made anew']


def test_lines_of_a_lost_archive_do_not_point_into_a_later_one(tmp_path):
    """The number of a deleted archive is free again."""

    def write(index, size):
        store = LabelMaps(tmp_path, archives=True)
        store.write(Named().name(index), np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint16))
        store.close()

    write(0, 1)
    (tmp_path / 'archives/00000.tar').unlink()
    assert list(UnfinishedSampler(Named(), str(tmp_path))) == list(range(10))
    write(7, 300)
    assert (tmp_path / 'archives/00000.tar').is_file()
    assert LabelMaps(tmp_path).names() == {Named().name(7)}

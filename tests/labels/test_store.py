"""What all label stores have in common; each kind has its own tests."""

import json

import pytest

from mmdmt.labels.store import LabelStore, sample_name


class Names(LabelStore):
    """A store of nothing but names, each an empty file."""

    def write(self, *names):
        self.root.mkdir(parents=True, exist_ok=True)
        for name in names:
            (self.root / f'{name}.label').touch()

    def names(self):
        return {path.stem for path in self.root.glob('*.label')}

    def forget(self, names):
        raise NotImplementedError

    def select(self, names, ratio, ranking):
        raise NotImplementedError

    def discard(self):
        for path in self.root.glob('*.label'):
            path.unlink()


@pytest.fixture
def store(tmp_path):
    store = Names(tmp_path / 'not/yet')
    store.write('000000_a', '000001_b')
    return store


def test_name_of_an_image_is_its_place_and_its_stem():
    assert sample_name(7, 'some/where/frame.v2.jpg') == '000007_frame.v2'
    assert sample_name(7, 'digits/0006_6') == '000007_0006_6'  # in memory
    assert sample_name(0, 'a/x.png') != sample_name(1, 'b/x.png')


def test_nothing_is_written_before_there_is_something_to_write(tmp_path):
    store = Names(tmp_path / 'new')
    assert not store.complete
    assert list(tmp_path.iterdir()) == []


def test_store_is_complete_once_it_is_finished(store):
    assert not store.complete
    for ask in (store.info, lambda: store.check_names(['000000_a'])):
        with pytest.raises(FileNotFoundError, match=r'not/yet/labels\.json: the pseudo labels are not complete; run'):
            ask()
    store.finish(coverage=0.5, thresholds=[1, 2])
    assert store.complete
    again = Names(str(store.root))
    assert again.complete
    info = again.info()
    assert info == json.loads((store.root / 'labels.json').read_text())
    assert (info['num_images'], info['coverage'], info['thresholds']) == (2, 0.5, [1, 2])


def test_digest_of_the_names(store):
    """SHA-256 of the sorted names, a line each: stores of earlier versions must be known again."""
    store.finish()
    assert store.info()['names'] == '4c8c2747e83956d5fd27584cce88044bfd08afab998b5133c5b19ef59b4d178d'


def test_names_are_checked_without_the_labels(store):
    store.finish()
    store.discard()
    assert store.names() == set()
    store.check_names(['000000_a', '000001_b'])
    store.check_names(['000001_b', '000000_a'])  # each name holds its place
    for names in (
        ['000000_a'],
        ['000000_a', '000001_c'],
        ['000000_b', '000001_a'],
        ['000000_a', '000001_b', '000002_c'],
    ):
        with pytest.raises(ValueError, match=rf'yet holds labels of 2 images, but not of the {len(names)} images that'):
            store.check_names(names)


def test_finishing_anew_counts_anew(store):
    store.finish(label_ratio=0.5)
    store.write('000002_c')
    store.finish()
    assert store.info()['num_images'] == 3
    assert 'label_ratio' not in store.info()


def test_a_kind_of_store_must_say_how_it_selects():
    class Half(LabelStore):
        def names(self):
            return set()

    with pytest.raises(TypeError, match=r'abstract.*discard.*forget.*select'):
        Half('folder')

import copy
from pathlib import Path

import numpy as np
import pytest
from mmengine.dataset import BaseDataset

from mmdmt.datasets.building import build_dataset, image_paths, list_name
from mmdmt.errors import RefusedFileError
from mmdmt.untrusted import untrusted_files


def accept(pipeline, key):
    pass


@pytest.fixture
def images(image_folder):
    """Config of a dataset of the images p and q."""
    return image_folder('images', ['p', 'q'])


class Infos(BaseDataset):
    """A dataset of given data infos."""

    def __init__(self, infos, **kwargs):
        self.infos = infos
        super().__init__(**kwargs)

    def load_data_list(self):
        return self.infos


def test_config_stays_as_it_is(images):
    images['pipeline'] = [dict(type='LoadImageFromFile')]
    before = copy.deepcopy(images)
    dataset = build_dataset(images, 'dmt.labeled', accept)
    assert [Path(path).name for path in image_paths(dataset)] == ['p.png', 'q.png']
    assert dataset[0]['img'].shape == (2, 3, 3)
    assert images == before


@pytest.mark.parametrize(
    ('change', 'name', 'path'),
    [
        (dict(ann_file='no.txt'), 'ann_file', '{root}/no.txt'),
        (dict(ann_file='/no/list.txt'), 'ann_file', '/no/list.txt'),
        (dict(data_prefix=dict(img_path='no')), 'img_path', '{root}/no'),
        (dict(data_prefix=dict(img_path='images', seg_map_path='no')), 'seg_map_path', '{root}/no'),
        (dict(data_prefix='no'), 'data_prefix', '{root}/no'),
        (dict(data_prefix=dict(img_path='digits://no/images')), 'img_path', 'digits://no/images'),
    ],
    ids=str,
)
def test_missing_file_is_named(images, tmp_path, change, name, path):
    with pytest.raises(FileNotFoundError) as error:
        build_dataset({**images, **change}, 'dmt.labeled', accept)
    path = path.format(root=tmp_path)
    assert str(error.value).startswith(f'dmt.labeled: {name} {path!r} does not exist; set data_root (now ')


def test_how_to_make_the_list_of_voc(images, tmp_path):
    images['ann_file'] = 'ImageSets/Segmentation/trainaug.txt'
    with pytest.raises(
        FileNotFoundError, match=rf'trainaug\.txt\' does not .* `python tools/make_splits\.py voc {tmp_path}`'
    ):
        build_dataset(images, 'dmt.labeled', accept)
    images['data_root'] = str(tmp_path / 'no')
    with pytest.raises(FileNotFoundError, match='set data_root'):
        build_dataset(images, 'dmt.labeled', accept)


def test_lazy_dataset_is_read(images):
    assert len(build_dataset({**images, 'lazy_init': True}, 'dmt.labeled', accept)) == 2


def test_masks_of_unlabeled_images_need_not_exist(images):
    images['data_prefix']['seg_map_path'] = 'no'
    assert len(build_dataset(images, 'dmt.unlabeled', accept)) == 2


def test_paths_without_a_root_are_taken_as_they_are(images, tmp_path, monkeypatch):
    images['data_root'] = None
    with pytest.raises(FileNotFoundError, match=r"img_path 'images' does not exist; set data_root \(now ''\)"):
        build_dataset(images, 'dmt.labeled', accept)
    monkeypatch.chdir(tmp_path)
    assert len(build_dataset(images, 'dmt.labeled', accept)) == 2


@pytest.mark.parametrize('key', ['dmt.labeled', 'val_dataloader.dataset'])
def test_parts_of_a_concatenation_are_named(images, image_folder, key):
    """Each with its key; pipelines are looked at of what is trained on only, before any file."""
    other = image_folder('others', ['r'], pipeline=['load'])
    inner = dict(type='ConcatDataset', datasets=[other, images])
    config, seen = dict(type='ConcatDataset', datasets=[images, inner]), []
    images['data_prefix'] = dict(img_path='gone')
    with pytest.raises(FileNotFoundError, match=rf'^{key}\.datasets\.0: img_path'):
        build_dataset(config, key, lambda pipeline, place: seen.append((pipeline, place)))
    images['data_prefix'], other['ann_file'] = dict(img_path='images'), 'no.txt'
    with pytest.raises(FileNotFoundError, match=rf'^{key}\.datasets\.1\.datasets\.0: ann_file'):
        build_dataset(config, key, lambda pipeline, place: seen.append((pipeline, place)))
    looked_at = (['load'], f'{key}.datasets.1.datasets.0.pipeline')
    assert seen == ([looked_at, looked_at] if key == 'dmt.labeled' else [])


def test_refused_transform_comes_before_a_missing_file(images):
    def refuse(pipeline, key):
        raise ValueError(f'{key} is refused')

    with pytest.raises(ValueError, match=r'^dmt\.labeled\.pipeline is refused$'):
        build_dataset({**images, 'ann_file': 'no.txt', 'pipeline': ['load']}, 'dmt.labeled', refuse)


@pytest.mark.parametrize('serialize_data', [True, False])
def test_empty_dataset_is_named(serialize_data, image_folder, tmp_path):
    (tmp_path / 'empty.txt').write_text('')
    (tmp_path / 'nothing').mkdir()
    nothing = image_folder('nothing', [])
    listed = {**nothing, 'ann_file': 'empty.txt', 'serialize_data': serialize_data}
    with pytest.raises(ValueError, match=r'^dmt\.labeled lists no image \(empty\.txt\)$'):
        build_dataset(listed, 'dmt.labeled', accept)
    both = dict(type='ConcatDataset', datasets=[listed, {**nothing, 'serialize_data': serialize_data}])
    with pytest.raises(ValueError, match=r"lists no image \(empty\.txt and \{'img_path': 'nothing'\}\)$"):
        build_dataset(both, 'dmt.labeled', accept)


@pytest.mark.parametrize(
    ('content', 'message'),
    [(b'\xef\xbb\xbfp\n', 'begins with a byte order mark'), (b'p\n\nq\n', 'line 2 is empty')],
)
def test_lists_that_a_stock_dataset_misreads(images, tmp_path, content, message):
    (tmp_path / 'list.txt').write_bytes(content)
    with pytest.raises(ValueError, match=rf'^list .*list\.txt.*{message}'):
        build_dataset({**images, 'ann_file': 'list.txt'}, 'dmt.labeled', accept)
    own = {**images, 'ann_file': 'list.txt', 'type': 'ImageMaskDataset', 'img_suffix': None}
    assert len(build_dataset(own, 'dmt.labeled', accept)) == content.count(b'p') + content.count(b'q')


@pytest.mark.parametrize('line', ['q', 'q one', 'q\t1'])
def test_line_without_a_label(tmp_path, line):
    import mmpretrain.datasets

    (tmp_path / 'list.txt').write_text(f'p.png 0\n{line}\n')
    config = dict(type=mmpretrain.datasets.CustomDataset, data_root=str(tmp_path), ann_file='list.txt')
    with pytest.raises(ValueError) as error:
        build_dataset(config, 'dmt.labeled', accept)
    assert str(error.value) == f'list {tmp_path}/list.txt, line 2: must be NAME LABEL, got {line!r}'


def test_other_errors_of_a_dataset_are_its_own(images):
    with pytest.raises(ValueError, match='not a subset'):
        build_dataset(
            dict(type='DigitScenesDataset', subset='val', metainfo=dict(classes=['x'])), 'dmt.labeled', accept
        )
    with pytest.raises(ValueError, match=r'^dmt\.labeled cannot be built: TypeError: .*no_such_argument'):
        build_dataset({**images, 'no_such_argument': 1}, 'dmt.labeled', accept)


def test_dataset_that_does_not_say_its_paths():
    infos = [dict(img_path='a/x.png'), dict(img=np.zeros((1, 1, 3)))]
    assert image_paths(Infos(infos[:1])) == ['a/x.png']
    with pytest.raises(ValueError, match=r'^dataset Infos gives no img_path, .* use DMTCIFAR10 or DMTCIFAR100\)$'):
        image_paths(Infos(infos))


@pytest.mark.parametrize('name', ['../../secret', '{root}/secret', '../secret'])
def test_list_may_not_lead_out_of_the_folders_of_the_config(images, tmp_path, name):
    inside = tmp_path / 'data'
    (tmp_path / 'images').rename(tmp_path / 'moved')
    inside.mkdir()
    (tmp_path / 'moved').rename(inside / 'images')
    (inside / 'images/p.png').rename(tmp_path / 'secret.png')
    (inside / 'list.txt').write_text(f'q\n{name.format(root=tmp_path)}\n')
    images.update(data_root=str(inside), ann_file='list.txt')
    if name == '../secret':  # still below data_root
        build_dataset(images, 'dmt.unlabeled', accept)
        return
    with pytest.raises(RefusedFileError, match=rf'^dmt\.unlabeled lists .*secret\.png, .* outside of {inside}/; '):
        build_dataset(dict(type='ConcatDataset', datasets=[images]), 'dmt.unlabeled', accept)
    images.update(data_root=str(tmp_path), ann_file='data/list.txt', data_prefix=dict(img_path='data/images'))
    assert len(build_dataset(images, 'dmt.unlabeled', accept)) == 2  # named by the config itself


def test_links_in_the_data_folder_are_followed(images, tmp_path):
    (tmp_path / 'images').rename(tmp_path / 'elsewhere')
    inside = tmp_path / 'data'
    inside.mkdir()
    (inside / 'images').symlink_to(tmp_path / 'elsewhere')
    assert len(build_dataset({**images, 'data_root': str(inside)}, 'dmt.labeled', accept)) == 2


def test_names_of_images_in_memory_are_no_paths():
    infos = [dict(img=np.zeros((2, 2, 3)), img_path='/../x')]
    assert len(build_dataset(dict(type=Infos, infos=infos), 'dmt.labeled', accept)) == 1


@pytest.mark.parametrize('name', ['list.pkl', 'list.yaml'])
def test_list_that_could_run_code_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b'!!python/name:os.system' if name.endswith('yaml') else b'cposix\nsystem\n.')
    config = dict(type=BaseDataset, ann_file=str(tmp_path / name))
    with (
        untrusted_files(),
        pytest.raises(RefusedFileError, match=rf'^dmt\.labeled .*{name}\): the .*refused'),
    ):
        build_dataset(config, 'dmt.labeled', accept)


def test_lists_of_a_wrapper():
    assert list_name(dict(type='RepeatDataset', dataset=dict(ann_file='x.txt'))) == 'x.txt'


def test_pipeline_of_a_wrapper_is_looked_at(images):
    def refuse(pipeline, key):
        raise ValueError(f'{key} is refused: {pipeline}')

    config = dict(type='MultiImageMixDataset', pipeline=['mix'], dataset=images)
    with pytest.raises(ValueError, match=r"^dmt\.labeled\.pipeline is refused: \['mix'\]$"):
        build_dataset(config, 'dmt.labeled', refuse)

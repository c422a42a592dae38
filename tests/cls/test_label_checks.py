import copy

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.registry import DATASETS, MODELS

import mmdmt.cls
import mmdmt.methods  # noqa: F401
from mmdmt.cls.label_checks import check_forward, check_labeled, check_samples, classes_shown
from mmdmt.datasets.image_checks import first_sample

CLASSES = ('cat', 'dog', 'owl')
KEYS = ('dmt.labeled', 'val_dataloader.dataset')
LOAD = {'type': 'LoadImageFromFile'}
PACK = {'type': 'PackDMTInputs'}
TRAIN = [LOAD, {'type': 'RandomFlip', 'prob': 0.5}, PACK]


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture
def folder(tmp_path, write_image):
    """images/{class}/{0,1}.png"""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        for index in range(2):
            write_image(tmp_path / f'images/{name}/{index}.png', rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    return tmp_path


@pytest.fixture
def make(folder):
    def make(pipeline=TRAIN, **kwargs):
        config = {'type': 'CustomDataset', 'data_prefix': str(folder / 'images'), 'pipeline': copy.deepcopy(pipeline)}
        # Not serialized, which starts a slow garbage collection.
        return DATASETS.build({**config, 'serialize_data': False, **kwargs})

    return make


class Infos:
    """A dataset of nothing but data infos."""

    def __init__(self, *labels, classes=CLASSES):
        self.metainfo = {} if classes is None else {'classes': classes}
        self.infos = [{'img_path': f'{index}.png', 'img': None} for index in range(len(labels))]
        for info, label in zip(self.infos, labels, strict=True):
            if label != 'none at all':
                info['gt_label'] = label

    def __len__(self):
        return len(self.infos)

    def get_data_info(self, idx):
        return self.infos[idx]


@pytest.mark.parametrize('key', KEYS)
def test_good_folder(make, key):
    dataset = make()
    assert [dataset.get_data_info(idx)['gt_label'] for idx in range(6)] == [0, 0, 1, 1, 2, 2]
    check_labeled(dataset, key, 3)


@pytest.mark.parametrize('key', KEYS)
@pytest.mark.parametrize('label', [-1, 3, [1], None, 1.0, '1', 'none at all'])
def test_labels_outside_of_the_classes(key, label):
    shown = None if label == 'none at all' else label
    message = f'{key}: image 3.png has label {shown!r}; allowed is one of 0..2'
    with pytest.raises(ValueError) as error:
        check_labeled(Infos(0, 1, 2, label), key, 3)
    assert str(error.value) == message


def test_label_of_a_list_file(make, folder):
    (folder / 'list.txt').write_text('cat/0.png 0\ndog/0.png 1\nowl/0.png 2\nowl/1.png 3\n')
    dataset = make(ann_file=str(folder / 'list.txt'), classes=CLASSES)
    with pytest.raises(ValueError, match=r'dmt\.labeled: image .*owl/1\.png has label 3; allowed is one of 0\.\.2'):
        check_labeled(dataset, 'dmt.labeled', 3)


@pytest.mark.parametrize(
    ('labels', 'classes', 'message'),
    [((0, 0, 2), CLASSES, "1 of 3 classes: 'dog'; each"), ((2, 2), CLASSES, "2 of 3 classes: 'cat', 'dog'; each"),
     ((1, 1), None, '2 of 3 classes: 0, 2; each')],
)  # fmt: skip
def test_class_without_an_image(labels, classes, message):
    with pytest.raises(ValueError, match=rf'dmt\.labeled has no image of {message} needs at least one'):
        check_labeled(Infos(*labels, classes=classes), 'dmt.labeled', 3)
    # Validation may do without.
    check_labeled(Infos(*labels, classes=classes), 'val_dataloader.dataset', 3)


def test_only_some_missing_classes_are_shown():
    with pytest.raises(ValueError, match=r'no image of 999 of 1000 classes: 1, 2, 3, 4, 5; each needs'):
        check_labeled(Infos(0, classes=None), 'dmt.labeled', 1000)


@pytest.mark.parametrize('key', KEYS)
@pytest.mark.parametrize('classes', [2, 4])
def test_number_of_classes(make, key, classes):
    shown = r'\(cat, dog, owl\)'
    with pytest.raises(ValueError, match=rf'{key} has 3 classes {shown}, but the model has num_classes={classes}'):
        check_labeled(make(), key, classes)


@pytest.mark.parametrize('key', KEYS)
def test_missing_image(make, folder, key):
    dataset = make()
    dataset.full_init()
    (folder / 'images/dog/1.png').unlink()
    with pytest.raises(FileNotFoundError, match=rf'{key}: image .*dog/1\.png does not exist'):
        check_labeled(dataset, key, 3)


@pytest.mark.parametrize('key', KEYS)
def test_broken_image(make, folder, key):
    (folder / 'images/owl/0.png').write_text('no image')
    with pytest.raises(ValueError, match=rf'{key}: .*owl/0\.png cannot be read as an image'):
        check_labeled(make(), key, 3)


def test_images_in_memory_need_no_file():
    check_labeled(Infos(0, 1, 2), 'dmt.labeled', 3)
    with_files = Infos(0, 1, 2)
    for info in with_files.infos:
        del info['img']
    with pytest.raises(FileNotFoundError, match=r'image 0\.png does not exist'):
        check_labeled(with_files, 'dmt.labeled', 3)


def test_good_samples(make):
    check_samples(make(), make([]), [LOAD, PACK], TRAIN)


@pytest.mark.parametrize('pipeline', [[LOAD], [LOAD, {'type': 'PackInputs'}], [LOAD, PACK, {'type': 'Collect'}]])
def test_pipeline_of_labeled_images(make, pipeline):
    class Collect:
        def __call__(self, results):
            return [results]

    pipeline = [Collect() if step == {'type': 'Collect'} else step for step in pipeline]
    with pytest.raises(ValueError, match=r'^dmt\.labeled\.pipeline must end with PackDMTInputs$'):
        check_samples(make(pipeline), make(), [LOAD, PACK], TRAIN)


def test_unlabeled_images_have_another_pipeline_than_the_dataset_s_own(make):
    with pytest.raises(ValueError, match=r'^dmt\.unlabeled\.pipeline must end with PackDMTInputs$'):
        check_samples(make(), make(), [LOAD, PACK], [LOAD, {'type': 'PackInputs'}])


@pytest.mark.parametrize('key', ['dmt.label_pipeline', 'dmt.unlabeled.pipeline'])
@pytest.mark.parametrize(
    ('pipeline', 'message'),
    [([LOAD], "gives no 'inputs'; "),
     ([PACK], "gives no 'inputs'; it must load the image"),
     ([LOAD, {'type': 'RandomCrop', 'crop_size': 2, 'padding': 'x'}, PACK],
      'fails on the first unlabeled image: ValueError: Padding')],
)  # fmt: skip
def test_pipeline_that_fails(make, key, pipeline, message):
    pipelines = {'dmt.label_pipeline': [LOAD, PACK], 'dmt.unlabeled.pipeline': TRAIN, key: pipeline}
    with pytest.raises(ValueError, match=rf'^{key} {message}'):
        check_samples(make(), make(), *pipelines.values())


@pytest.mark.parametrize('meta_keys', [(), ('sample_idx',), ('img_path',)])
@pytest.mark.parametrize('kind', ['PackDMTInputs', 'PackInputs'])
def test_label_pipeline_without_a_name(make, meta_keys, kind):
    pipeline = [LOAD, {'type': kind, 'meta_keys': meta_keys}]
    message = r'^dmt\.label_pipeline must end with PackDMTInputs, with sample_idx and img_path in its meta_keys$'
    with pytest.raises(ValueError, match=message):
        check_samples(make(), make(), pipeline, TRAIN)


def test_pipeline_of_the_unlabeled_images_sees_a_label(make):
    """What is checked is the sample of an image with a pseudo label."""
    seen = []

    class Look:
        def __call__(self, results):
            seen.append({key: results.get(key) for key in ('gt_label', 'gt_confidence', 'sample_idx')})
            return results

    check_samples(make(), make(), [LOAD, Look(), PACK], [LOAD, Look(), PACK])
    assert seen == [
        {'gt_label': None, 'gt_confidence': None, 'sample_idx': 0},
        {'gt_label': 0, 'gt_confidence': 0.5, 'sample_idx': 0},
    ]


def build_model(**head):
    torch.manual_seed(0)
    loss = {'type': 'DynamicMutualLoss'}
    head = {'type': 'LinearClsHead', 'in_channels': 64, 'num_classes': 3, 'loss': loss, **head}
    backbone = {'type': 'WideResNet', 'depth': 10, 'width': 1}
    neck = {'type': 'GlobalAveragePooling'}
    return MODELS.build({'type': 'DMTImageClassifier', 'backbone': backbone, 'neck': neck, 'head': head, 'mixup': {}})


def test_good_forward(make):
    model = build_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    check_forward(model, make(), 'dmt.models.a', 3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_only_labels_on_disk_need_log_odds(make):
    """A stock classifier cannot rank them, but a method of one phase may wrap it."""
    head = dict(type='LinearClsHead', in_channels=64, num_classes=3, loss=dict(type='CrossEntropyLoss'))
    backbone, neck = dict(type='WideResNet', depth=10, width=1), dict(type='GlobalAveragePooling')
    stock = dict(type='ImageClassifier', backbone=backbone, neck=neck, head=head)
    check_forward(MODELS.build(dict(type='FixMatch', model=stock)), make(), 'dmt.models.a', 3)
    with pytest.raises(ValueError, match=r'predictions of ImageClassifier have no log_odds, which rank pseudo labels'):
        check_forward(MODELS.build(stock), make(), 'dmt.models.a', 3)


def test_head_with_another_number_of_classes(make):
    with pytest.raises(ValueError, match=r'^dmt\.models\.a: the model gives 4 scores for 3 classes$'):
        check_forward(build_model(num_classes=4), make(), 'dmt.models.a', 3)


def test_head_with_other_channels(make):
    message = r'^dmt\.models\.b: the model cannot predict an image: RuntimeError: .*shapes cannot be multiplied'
    with pytest.raises(ValueError, match=message):
        check_forward(build_model(in_channels=63), make(), 'dmt.models.b', 3)


def test_head_with_several_scores(make):
    model = build_model(type='ConformerHead', in_channels=[64, 64])
    with pytest.raises(ValueError, match=r'^dmt\.models\.a: the model cannot predict an image: '):
        check_forward(model, make(), 'dmt.models.a', 3)


def test_classes_that_images_show():
    assert classes_shown(Infos(2, np.int64(0), 2), 'dmt.labeled', 3) == [[2], [0], [2]]
    with pytest.raises(ValueError, match=r'^dmt\.labeled: an image has label \[1\]; allowed is one of 0\.\.2$'):
        classes_shown(Infos(0, [1]), 'dmt.labeled', 3)


def test_labeled_pipeline_that_fails():
    class Broken:
        def __getitem__(self, index):
            raise KeyError('img')

    with pytest.raises(ValueError, match=r"^dmt\.labeled\.pipeline fails on the first image: KeyError: 'img'$"):
        check_forward(torch.nn.Identity(), Broken(), 'dmt.models.a', 3)
    with pytest.raises(ValueError, match=r"^x\.pipeline fails on the first image: KeyError: 'img'$"):
        first_sample(Broken(), 'x')

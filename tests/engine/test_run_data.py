"""Every bad input gives one clear error before the first training step."""

import copy
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs
from mmseg.models import EncoderDecoder
from PIL import Image

from mmdmt.engine import DMTRunner
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.run_data import RunData, _check_same_images, _pop_pipeline
from mmdmt.errors import UserError
from mmdmt.seg import mask_checks
from mmdmt.seg.segmentation_task import SegmentationTask

SIZE = (24, 32)


def mask(value=1, size=SIZE):
    return np.full(size, value, np.uint8)


@pytest.fixture
def refused(folder_config):
    """``refused(error, *parts of its text)``: both ``dry_run`` and ``train`` refuse, and train nothing."""

    def check(error, *parts):
        for operation in (DMTRunner.dry_run, DMTRunner.train):
            runner = DMTRunner(folder_config)
            with pytest.raises(error) as caught:
                operation(runner)
            for part in parts:
                assert part in str(caught.value)
            assert not list(runner.work_dir.glob('**/*.pth'))
            assert not [folder for folder in runner.work_dir.glob('0*') if folder.is_dir()]
            assert not runner.manifest.path.exists()

    return check


def test_good_data_pass(folder_config, tmp_path):
    text = DMTRunner(folder_config).dry_run()
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in text.splitlines() if line.startswith('|')]
    assert rows[0] == ['phase', 'student', 'teacher', 'label ratio', 'labeled', 'steps', 'images to label', 'state']
    assert rows[2] == ['00_train_a', 'a', '', '', '3', '4', '', '']
    assert rows[4] == ['01_label_a', '', 'a', '0.5', '', '', '4', '']
    assert rows[5] == ['01_train_b', 'b', 'a', '0.5', '3', '4', '', '']
    table = rows[12:]
    assert table[0] == ['class', 'labeled, %', 'val, %', 'test, %']
    assert [row[0] for row in table[2:]] == ['0 road', '1 wall', '2 sky', '255 (ignored)', 'pixels']
    assert all(0 < float(cell) < 100 for row in table[2:6] for cell in row[1:])
    assert table[5][1:] == ['8.33'] * 3  # two of 24 rows
    assert table[6][1:] == ['2,304', '1,536', '1,536']
    assert len(rows) == 2 + 10 + 2 + 5
    assert 'model a: 3 labeled, 4 unlabeled images' in text
    assert '24 optimizer steps, 16 images to label in 4 label phases' in text
    assert not (tmp_path / 'run').exists()


def test_steps_from_epochs(folder_config):
    folder_config.dmt.supervised = dict(epochs=3)
    folder_config.dmt.semi = dict(epochs=5, labeled_per_batch=1, unlabeled_per_batch=3)
    # 3 passes over 3 images, 2 a step: 4.5; 5 passes over 4 images, 3 a step: 6.7
    assert '38 optimizer steps' in DMTRunner(folder_config).dry_run()  # 2 * 5 + 4 * 7


@pytest.mark.parametrize('subset', ['labeled', 'val'])
def test_image_without_mask(refused, folder_data, subset):
    (folder_data / f'masks/{subset}1.png').unlink()
    key = 'dmt.labeled' if subset == 'labeled' else 'val_dataloader.dataset'
    refused(FileNotFoundError, key, f'{subset}1.png has no mask at', f'masks/{subset}1.png')


@pytest.mark.parametrize('subset', ['labeled', 'val'])
def test_mask_of_another_size(refused, folder_data, write_image, subset):
    write_image(folder_data / f'masks/{subset}1.png', mask(size=(24, 31)))
    refused(ValueError, f'masks/{subset}1.png is (24, 31) (height, width), but its image', 'is (24, 32)')


@pytest.mark.parametrize('subset', ['labeled', 'val'])
def test_unknown_label(refused, folder_data, write_image, subset):
    write_image(folder_data / f'masks/{subset}1.png', mask(3))
    refused(ValueError, f'masks/{subset}1.png holds label(s) [3]; allowed are 0..2 and 255 (ignored)')


@pytest.mark.parametrize('content', [b'', b'\x89PNG\r\n\x1a\n', None], ids=['empty', 'signature only', 'cut off'])
@pytest.mark.parametrize('subset', ['labeled', 'val'])
def test_broken_mask(refused, folder_data, subset, content):
    path = folder_data / f'masks/{subset}1.png'
    path.write_bytes(path.read_bytes()[:100] if content is None else content)
    refused(ValueError, f'masks/{subset}1.png cannot be read')


@pytest.mark.parametrize('subset', ['labeled', 'unlabeled', 'val'])
def test_broken_image(refused, folder_data, subset):
    (folder_data / f'images/{subset}1.png').write_bytes(b'no image')
    refused(ValueError, f'images/{subset}1.png cannot be read as an image')


@pytest.mark.parametrize('subset', ['labeled', 'unlabeled', 'val'])
def test_missing_image(refused, folder_data, subset):
    (folder_data / f'images/{subset}1.png').unlink()
    refused(FileNotFoundError, f'images/{subset}1.png does not exist')


def test_image_both_labeled_and_unlabeled(refused, folder_data):
    (folder_data / 'unlabeled.txt').write_text('labeled2\nunlabeled0\n')
    refused(ValueError, 'dmt.labeled and dmt.unlabeled share 1 of their images', 'labeled2.png')


def test_image_unlabeled_and_labeled_for_the_second_model_only(refused, folder_config, folder_data):
    (folder_data / 'labeled_b.txt').write_text('labeled0\nval0\n')
    (folder_data / 'unlabeled.txt').write_text('val0\nunlabeled0\n')
    folder_config.dmt.models.b = dict(labeled=dict(ann_file='labeled_b.txt'))
    refused(ValueError, 'dmt.labeled and dmt.unlabeled share 1 of their images', 'val0.png')


@pytest.mark.parametrize('subset', ['labeled', 'unlabeled', 'val'])
def test_empty_list(refused, folder_data, subset):
    (folder_data / f'{subset}.txt').write_text('')
    key = 'val_dataloader.dataset' if subset == 'val' else f'dmt.{subset}'
    refused(ValueError, f'{key} lists no image ({subset}.txt)')


@pytest.mark.parametrize('subset', ['labeled', 'unlabeled', 'val'])
def test_missing_list(refused, folder_data, subset):
    (folder_data / f'{subset}.txt').unlink()
    key = 'val_dataloader.dataset' if subset == 'val' else f'dmt.{subset}'
    refused(FileNotFoundError, f'{key}: ann_file', f'{subset}.txt', 'set data_root (now')


def test_missing_data_root(refused, folder_config):
    folder_config.dmt.unlabeled.data_root = 'no_such_folder'
    refused(FileNotFoundError, 'dmt.unlabeled: ann_file', "data_root (now 'no_such_folder')")


def test_other_number_of_classes(refused, folder_config):
    folder_config.model.decode_head.num_classes = 5
    refused(ValueError, 'dmt.labeled has 3 classes (road, wall, sky), but the model has num_classes=5')


def test_missing_weights(refused, folder_config):
    folder_config.dmt.models.b = dict(load_from='no_such.pth', weights_help='Get it with tools/get.py.')
    refused(FileNotFoundError, 'dmt.models.b', "'no_such.pth' do not exist. Get it with tools/get.py.")


@pytest.mark.parametrize('content', [b'', b'no checkpoint'])
def test_broken_weights(refused, folder_config, tmp_path, content):
    path = tmp_path / 'broken.pth'
    path.write_bytes(content)
    folder_config.dmt.models.b = dict(load_from=str(path), weights_help='Get it with tools/get.py.')
    refused(FileNotFoundError, 'dmt.models.b', 'broken.pth', 'cannot be loaded', 'Get it with tools/get.py.')


@pytest.mark.parametrize(
    'state_dict',
    [{'other.weight': torch.zeros(3)}, {'backbone.stem.0.weight': torch.zeros(1), 'x': torch.zeros(2)}, {}],
    ids=['other names', 'other shapes', 'nothing'],
)
def test_weights_that_do_not_fit(refused, folder_config, tmp_path, state_dict):
    path = tmp_path / 'other.pth'
    torch.save({'state_dict': state_dict}, path)
    folder_config.dmt.models.a = dict(load_from=str(path))
    refused(ValueError, 'dmt.models.a.load_from=', 'other.pth', f'none of its {len(state_dict)} tensors fits')


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        (None, FileNotFoundError, 'cannot be loaded (FileNotFoundError'),
        (lambda weights: weights.pop('decode_head.conv_seg.bias'), ValueError, '1 are missing'),
        (lambda weights: weights.update({'backbone.conv1.weight': torch.zeros(1)}), ValueError, '1 have other shapes'),
    ],
    ids=['missing', 'incomplete', 'shape'],
)
def test_supervised_checkpoint_of_another_model(refused, folder_config, tmp_path, change, error, message):
    if change is not None:
        with DefaultScope.overwrite_default_scope('mmseg'):
            weights = MODELS.build(copy.deepcopy(folder_config.model.to_dict())).state_dict()
        change(weights)
        torch.save({'state_dict': weights}, tmp_path / 'given.pth')
    folder_config.dmt.models.b = dict(supervised_checkpoint=str(tmp_path / 'given.pth'))
    refused(error, 'dmt.models.b.supervised_checkpoint=', message)


def test_missing_backbone_weights(refused, folder_config):
    folder_config.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='no_such_backbone.pth')
    refused(FileNotFoundError, 'dmt.models.a', "'no_such_backbone.pth' do not exist")


@pytest.mark.parametrize(
    ('transform', 'reason'),
    [
        (dict(type='Albu', transforms=[]), 'transform Albu cannot be used with DMT'),
        (dict(type='RandomRotFlip'), 'transform RandomRotFlip cannot be used with DMT'),
        (dict(type='Resize', scale=(8, 8), backend='pillow'), "transform Resize needs backend='cv2'"),
        (
            dict(type='RandomApply', transforms=[dict(type='RandomRotFlip')]),
            'transform RandomRotFlip cannot be used with DMT',
        ),
        (
            dict(type='RandomChoice', transforms=[[dict(type='RandomFlip', prob=0.5)], [dict(type='RandomRotFlip')]]),
            'transform RandomRotFlip cannot be used with DMT',
        ),
    ],
)
@pytest.mark.parametrize('subset', ['labeled', 'unlabeled'])
def test_refused_transform(refused, folder_config, subset, transform, reason):
    folder_config.dmt[subset].pipeline.insert(2, transform)
    refused(ValueError, f'dmt.{subset}.pipeline', reason)


class OwnLabels(LoadAnnotations):
    """Not stock, so the run does not replace it."""


class OwnPacking(PackSegInputs):
    """Likewise."""


class OwnSegmentor(EncoderDecoder):
    """Likewise."""


def test_labeled_pipeline_without_confidence(refused, folder_config):
    folder_config.dmt.labeled.pipeline[1].type = OwnLabels
    refused(ValueError, 'dmt.labeled.pipeline must load with LoadDMTAnnotations and end with PackDMTInputs')


@pytest.mark.parametrize('subset', ['labeled', 'unlabeled'])
def test_pipeline_that_drops_confidence(refused, folder_config, subset):
    folder_config.dmt[subset].pipeline[-1].type = OwnPacking
    refused(ValueError, f'dmt.{subset}.pipeline must load with LoadDMTAnnotations and end with PackDMTInputs')


@pytest.mark.parametrize('subset', ['labeled', 'unlabeled'])
def test_transform_that_parts_confidence_from_labels(refused, folder_config, subset):
    folder_config.dmt[subset].pipeline.insert(-1, dict(type='Pad', size=(200, 200)))
    refused(ValueError, 'gt_seg_map is (200, 200) but gt_confidence', 'mmcv Pad does')


@pytest.mark.parametrize(
    ('pipeline', 'transform', 'message'),
    [
        ('unlabeled.pipeline', dict(type='LoadAnnotations'), "KeyError: 'seg_map_path'"),
        ('label_pipeline', dict(type='LoadAnnotations'), "KeyError: 'seg_map_path'"),
        ('label_pipeline', dict(type='NoSuch'), 'NoSuch is not in the'),
    ],
)
def test_pipeline_of_unlabeled_images_that_fails(refused, folder_config, pipeline, transform, message):
    transforms = folder_config.dmt.unlabeled.pipeline if 'unlabeled' in pipeline else folder_config.dmt.label_pipeline
    transforms.insert(1, transform)
    refused(ValueError, f'dmt.{pipeline} fails on the first unlabeled image', message)


def test_label_pipeline_without_index(refused, folder_config):
    folder_config.dmt.label_pipeline[-1].type = OwnPacking
    refused(ValueError, 'dmt.label_pipeline must end with PackDMTInputs')


def test_labels_of_another_size(refused, folder_config):
    folder_config.dmt.label_pipeline[1:1] = [dict(type='Resize', scale=(16, 16)), dict(type='SetOriginalShape')]
    refused(ValueError, 'dmt.unlabeled.pipeline fails', 'is (24, 32) (height, width), but its pseudo label', '(16, 16)')


def test_labels_at_training_size_pass(folder_config):
    resize = dict(type='Resize', scale=(32, 16))
    folder_config.dmt.label_pipeline[1:1] = [resize, dict(type='SetOriginalShape')]
    folder_config.dmt.unlabeled.pipeline.insert(1, resize)
    assert '24 optimizer steps' in DMTRunner(folder_config).dry_run()


def test_model_that_cannot_be_built(refused, folder_config):
    folder_config.model.backbone.depth = 19
    refused(ValueError, 'dmt.models.a: the model cannot be built', 'invalid depth 19')


def test_warm_up_longer_than_a_phase(refused, folder_config):
    folder_config.dmt.semi.iters = 3
    warm_up = [dict(type='LinearLR', start_factor=0.1, begin=0, end=3), dict(type='PolyLR', begin=3, end=20000)]
    folder_config.dmt.models.b = dict(param_scheduler=[dict(one, by_epoch=False) for one in warm_up])
    refused(ValueError, 'phase 01_train_b has 3 steps, but param_scheduler.1 (PolyLR) begins at step 3')


@pytest.mark.parametrize(
    ('key', 'value'),
    [('data_root', '/elsewhere'), ('data_prefix', dict(img_path='other', seg_map_path='masks'))],
)
def test_split_of_images_in_two_places(refused, folder_config, key, value):
    folder_config.dmt.split = dict(ratio=2)
    folder_config.dmt.unlabeled[key] = value
    refused(UserError, f'dmt.split draws the unlabeled images from dmt.labeled, but dmt.unlabeled.{key} is ')


def test_split_beside_a_list_of_unlabeled_images(refused, folder_config):
    folder_config.dmt.split = dict(ratio=2)
    message = (
        "dmt.split draws the unlabeled images from dmt.labeled, but dmt.unlabeled.ann_file is 'unlabeled.txt' in place"
    )
    refused(UserError, message, "of 'labeled.txt': remove dmt.split")


def test_masks_that_changed_between_two_starts(folder_config, folder_data):
    def warnings():
        data = prepared(folder_config)
        data.check()
        data.files.save()
        return [warning for warning in data.warnings if 'have changed since' in warning]

    assert warnings() == warnings() == []
    Image.fromarray(mask(2)).save(folder_data / 'masks/labeled1.png')
    (warning,) = warnings()
    image = folder_data / 'images/labeled1.png'
    assert warning.startswith(
        f'dmt.labeled: 1 of its images, or their masks, are new or have changed since the run began: {image}. Phases'
    )
    assert warnings() == []


def test_images_that_a_data_set_does_not_read(folder_config, folder_data):
    (folder_data / 'more').mkdir()
    for path in folder_data.glob('images/unlabeled*.png'):
        shutil.move(path, folder_data / 'more')
    (folder_data / 'more/photo.heic').touch()
    folder_config.dmt.unlabeled.update(ann_file='', data_prefix=dict(img_path='more'))
    text = DMTRunner(folder_config).dry_run()
    assert f'warning: dmt.unlabeled: {folder_data / "more"} holds 1 images that are not read (1 with the suffix' in text


def test_split_that_leaves_nothing(refused, folder_config):
    folder_config.dmt.split = dict(ratio=1)
    refused(ValueError, 'dmt.split.ratio=1.0 leaves none of the 3 images unlabeled')


def test_broken_links_are_named(refused, folder_data):
    for part in ('masks', 'images'):
        path = folder_data / f'{part}/labeled1.png'
        path.rename(path.with_suffix('.kept'))
        path.symlink_to('/gone/x.png')
        refused(FileNotFoundError, f'{path} is a link to /gone/x.png, which does not exist')
        path.unlink()
        path.with_suffix('.kept').rename(path)
    (folder_data / 'images').rename(folder_data / 'other')
    (folder_data / 'images').symlink_to('/gone')
    refused(FileNotFoundError, f'{folder_data / "images"} is a link to /gone, which does not exist')


def prepared(config):
    init_default_scope('mmseg')
    data = DMTRunner(config).data
    data.prepare(Path(config.work_dir) / 'splits')
    return data


def repeated(dataset, times):
    return dict(type='RepeatDataset', times=times, dataset=dataset)


@pytest.mark.parametrize('place', ['dmt', 'train_dataloader'])
@pytest.mark.parametrize('times', [1, 10**6])
def test_repeated_labeled_images(folder_config, times, place):
    """Stock configs of small data sets repeat their training images."""
    labeled = folder_config.dmt.pop('labeled').to_dict()
    folder_config[place]['labeled' if place == 'dmt' else 'dataset'] = repeated(repeated(labeled, times), times)
    runner = DMTRunner(folder_config)
    runner.dry_run()
    own = runner.data.models['a']
    assert own.num_labeled == dict(supervised=3, semi=3)
    assert type(runner.data.dataset(own.labeled['semi'], '')).__name__ == labeled['type']


def test_repeated_images_of_a_model(folder_config):
    labeled = folder_config.dmt.labeled.to_dict()
    folder_config.dmt.models.b = dict(supervised=dict(labeled=dict(_delete_=True, **repeated(labeled, 9))))
    data = prepared(folder_config)
    assert data.models['b'].num_labeled == dict(supervised=3, semi=3)


@pytest.mark.parametrize(
    ('own', 'number'),
    [(dict(dataset=dict(indices=[0])), 1), (dict(times=3), 2), (dict(_delete_=True, type='RepeatDataset', times=9), 3)],
    ids=str,
)
def test_changes_of_repeated_images(folder_config, own, number):
    """They are those of the wrapper, as the config has it."""
    labeled = folder_config.dmt.labeled.to_dict()
    folder_config.dmt.labeled = repeated(dict(labeled, indices=[0, 1]), 2)
    if '_delete_' in own:
        own = dict(own, dataset=labeled)
    folder_config.dmt.models.b = dict(supervised=dict(labeled=own))
    assert prepared(folder_config).models['b'].num_labeled == dict(supervised=number, semi=2)


def test_wrapper_without_a_data_set(folder_config):
    folder_config.dmt.labeled = dict(type='RepeatDataset', times=2)
    with pytest.raises(UserError, match=r'^dmt\.labeled cannot be built: TypeError'):
        prepared(folder_config)


def test_split_of_repeated_images(folder_config):
    sizes = []
    labeled = folder_config.dmt.labeled.to_dict()
    for source in (labeled, repeated(labeled, 7)):
        folder_config.dmt.update(labeled=source, split=dict(ratio=3), unlabeled=copy.deepcopy(labeled))
        data = prepared(folder_config)
        sizes.append((data.models['a'].num_labeled['semi'], data.models['a'].num_unlabeled))
    assert sizes == [(2, 1), (2, 1)]


def test_images_that_a_combination_repeats_weigh_more(folder_config):
    labeled = folder_config.dmt.labeled.to_dict()
    one, rest = dict(labeled, indices=[0]), dict(labeled, indices=[1, 2])
    folder_config.dmt.labeled = dict(type='ConcatDataset', datasets=[repeated(one, 4), rest])
    runner = DMTRunner(folder_config)
    runner.dry_run()
    assert runner.data.models['a'].num_labeled['semi'] == 6
    folder_config.dmt.select = 'holdout'
    with pytest.raises(
        UserError, match=r"^dmt.select='holdout' needs each labeled image once, but .*ConcatDataset, rep"
    ):
        DMTRunner(folder_config).dry_run()


def test_image_that_a_combination_lists_twice(refused, folder_config):
    labeled = folder_config.dmt.labeled.to_dict()
    folder_config.dmt.labeled = dict(type='ConcatDataset', datasets=[labeled, dict(labeled, indices=[1])])
    refused(UserError, 'dmt.labeled lists 1 of its images more than once: ')


def test_paths_in_a_wrapper_are_checked(refused, folder_config):
    labeled = dict(folder_config.dmt.labeled.to_dict(), ann_file='gone.txt')
    folder_config.dmt.labeled = dict(type='ConcatDataset', datasets=[repeated(labeled, 4)])
    refused(FileNotFoundError, 'dmt.labeled.datasets.0.dataset: ann_file', "gone.txt' does not exist")


def test_pipeline_that_fails(refused, folder_config):
    labeled = folder_config.dmt.labeled.to_dict()
    kept = labeled['pipeline']
    labeled.update(pipeline=[*kept, dict(type='RandomFlip', prob=1.0)])  # after the image was packed
    folder_config.dmt.labeled = labeled
    refused(UserError, 'dmt.labeled.pipeline fails on the first image: KeyError: ')


def test_pipeline_of_a_concatenation():
    config = dict(type='ConcatDataset', datasets=[dict(type='A', pipeline=[1]), dict(type='B', pipeline=[2])])
    assert _pop_pipeline(config) == [1]
    assert config['datasets'] == [dict(type='A'), dict(type='B')]
    config = dict(type='KFoldDataset', dataset=dict(type='A', pipeline=[1]))
    assert _pop_pipeline(config) == [1]
    assert config['dataset'] == dict(type='A')


def test_an_empty_list_is_none():
    """Both mean all images of the folder."""
    _check_same_images(dict(ann_file=''), dict(data_prefix=None))
    _check_same_images(dict(), dict(ann_file=''))
    _check_same_images(dict(ann_file='a.txt'), dict())  # the split says it
    place = dict(data_root='/d')
    _check_same_images(dict(place, ann_file='a.txt'), dict(place, ann_file='/d/a.txt'))
    with pytest.raises(UserError, match=r"dmt\.unlabeled\.ann_file is '' in place of 'a\.txt'"):
        _check_same_images(dict(ann_file='a.txt'), dict(ann_file=''))


def test_labeled_images_of_a_stage(folder_config, folder_data):
    """Each place counts more than the one before: dmt, its stage, the model, the stage of the model."""
    for name in ('one', 'two', 'three'):
        (folder_data / f'{name}.txt').write_text('labeled0\nlabeled1\n'[: {'one': 9, 'two': 18, 'three': 9}[name]])
    folder_config.dmt.supervised.labeled = dict(ann_file='one.txt')
    folder_config.dmt.models.b = dict(labeled=dict(ann_file='two.txt'), semi=dict(labeled=dict(ann_file='labeled.txt')))
    runner = DMTRunner(folder_config)
    runner.dry_run()
    assert runner.data.models['a'].num_labeled == {'supervised': 1, 'semi': 3}
    assert runner.data.models['b'].num_labeled == {'supervised': 2, 'semi': 3}


def test_image_unlabeled_and_labeled_in_a_later_stage_only(refused, folder_config, folder_data):
    (folder_data / 'more.txt').write_text('labeled0\nunlabeled1\n')
    (folder_data / 'masks/unlabeled1.png').write_bytes((folder_data / 'masks/labeled0.png').read_bytes())
    folder_config.dmt.semi.labeled = dict(ann_file='more.txt')
    refused(ValueError, 'dmt.labeled and dmt.unlabeled share 1 of their images', 'unlabeled1.png')


def test_class_that_no_labeled_mask_shows_is_warned_of(folder_config, folder_data):
    for path in (folder_data / 'masks').glob('labeled*.png'):
        pixels = np.array(Image.open(path))
        Image.fromarray(np.where(pixels == 2, 0, pixels)).save(path)
    text = DMTRunner(folder_config).dry_run()
    assert 'warning: labeled: no label shows class sky, which cannot be learned' in text
    assert re.search(r'\| 2 sky +\| none +\| \d', text)


@pytest.mark.parametrize('classes', [('wall', 'road', 'sky'), ('road', 'wall', 'Sky')], ids=['order', 'spelling'])
def test_other_classes_to_validate(refused, folder_config, classes):
    folder_config.val_dataloader.dataset.metainfo.classes = classes
    refused(ValueError, 'val_dataloader.dataset has the classes', "but dmt.labeled has ['road', 'wall', 'sky']")


def test_family_of_the_labeled_images(folder_config, monkeypatch):
    """The task knows it; the plan says it once for both models."""
    assert 'labeled images:' not in DMTRunner(folder_config).dry_run()
    sizes = []

    def find(self, labeled, unlabeled):
        sizes.append((len(labeled), len(unlabeled)))
        return 'DMT', 'three of ten'

    monkeypatch.setattr(SegmentationTask, 'list_family', find)
    text = DMTRunner(folder_config).dry_run()
    assert text.count('labeled images: three of ten\n') == 1
    assert sizes == [(3, 4)] * 2


def test_image_listed_twice(refused, folder_data):
    (folder_data / 'unlabeled.txt').write_text('unlabeled0\nunlabeled1\nunlabeled0\n')
    refused(ValueError, 'dmt.unlabeled lists 1 of its images more than once', 'unlabeled0.png')


def test_training_images_among_those_to_validate_are_warned_of(folder_config, folder_data):
    (folder_data / 'val.txt').write_text('val0\nlabeled1\n')
    text = DMTRunner(folder_config).dry_run()
    assert 'warning: val_dataloader.dataset shares 1 of its images with the training images' in text
    assert 'labeled1.png' in text


def test_validation_chooses_only_where_there_is_one(folder_config):
    folder_config.dmt.select = 'val'
    folder_config.update(val_dataloader=None, val_cfg=None, val_evaluator=None)
    with pytest.raises(ValueError, match=r"dmt\.select='val' needs a val_dataloader"):
        DMTRunner(folder_config)


@pytest.mark.parametrize('key', ['optim_wraper', 'val_dataloaders', 'custom_hook', 'randomnes', 'modle'])
def test_top_level_key_that_is_nearly_a_known_one(folder_config, key):
    folder_config[key] = dict(x=1)
    with pytest.raises(ValueError, match=rf'^{key} at the top of the config has no meaning: should it be \w+\?$'):
        DMTRunner(folder_config)


def test_pipeline_and_unlabeled_images_of_one_model(folder_config, folder_data):
    """Those of model b are its own; model a keeps those of the run."""
    (folder_data / 'few.txt').write_text('unlabeled0\nunlabeled1\n')
    own = [*copy.deepcopy(folder_config.dmt.label_pipeline)]
    own.insert(1, dict(type='Resize', scale=(32, 24)))
    folder_config.dmt.models.b = dict(label_pipeline=own, semi=dict(unlabeled=dict(ann_file='few.txt')))
    runner = DMTRunner(folder_config)
    runner.dry_run()
    models = runner.data.models
    assert {name: len(data.label_pipeline) for name, data in models.items()} == {'a': len(own) - 1, 'b': len(own)}
    assert {name: data.num_unlabeled for name, data in models.items()} == {'a': 4, 'b': 2}
    steps = {
        name: [step['type'] for step in runner.data.phases[f'01_label_{name}'].config.test_dataloader.dataset.pipeline]
        for name in models
    }
    assert ('Resize' in steps['a'], 'Resize' in steps['b']) == (False, True)


def test_other_model_with_a_dynamic_loss(refused, folder_config):
    """It would train unweighted."""
    folder_config.model.type = OwnSegmentor
    refused(ValueError, 'dmt.models.a: OwnSegmentor does not pass', 'set model.type to DMTEncoderDecoder')


def test_one_model_of_another_type(refused, folder_config):
    folder_config.dmt.models.b = dict(model=dict(folder_config.model.to_dict(), type=OwnSegmentor))
    refused(ValueError, 'dmt.models.b: OwnSegmentor does not pass')


def test_stock_model_with_a_dynamic_loss_becomes_one_that_is_served(folder_config):
    folder_config.model.type = 'EncoderDecoder'
    model = RunPlan.of(folder_config).configs['a']['semi']['model']
    assert model['type'] == 'DMTEncoderDecoder'
    assert model['decode_head']['loss_decode'] == folder_config.model.decode_head.loss_decode


@pytest.mark.parametrize(('iters', 'warned'), [(80, False), (81, True)])
def test_phases_that_are_very_short_beside_the_baseline(folder_config, iters, warned):
    folder_config.dmt.supervised.iters = iters  # semi: 4 steps
    text = DMTRunner(folder_config).dry_run()
    warning = 'warning: model a: phases with pseudo labels have at most 4 steps beside 81 of the baseline'
    assert (warning in text) is warned
    assert ('set dmt.semi.min_iters' in text) is warned


def test_given_baseline_is_not_compared(folder_config, tmp_path):
    folder_config.dmt.supervised.iters = 999
    with DefaultScope.overwrite_default_scope('mmseg'):
        weights = MODELS.build(copy.deepcopy(folder_config.model.to_dict())).state_dict()
    torch.save({'state_dict': weights}, tmp_path / 'given.pth')
    given = dict(supervised_checkpoint=str(tmp_path / 'given.pth'))
    folder_config.dmt.models = dict(a=given, b=dict(given, semi=dict(iters=None, epochs=1, min_iters=2)))
    assert 'min_iters' not in DMTRunner(folder_config).dry_run()


def save_palette_masks(folder, subset, number, shift=0):
    for index in range(number):
        pixels = (np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) % 3 + shift).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f'masks/{subset}{index}.png')


def test_classes_are_counted_in_every_set(folder_config, folder_data):
    """Labels of each model, of unlabeled images where masks exist, of images to validate and to test with."""
    (folder_data / 'labeled_a.txt').write_text('labeled0\n')
    (folder_data / 'labeled_b.txt').write_text('labeled1\nlabeled2\n')
    for model in 'ab':
        supervised = dict(labeled=dict(ann_file=f'labeled_{model}.txt'))
        folder_config.dmt.models[model] = dict(folder_config.dmt.models[model], supervised=supervised)
    save_palette_masks(folder_data, 'unlabeled', 2)
    folder_config.test_dataloader.dataset = copy.deepcopy(folder_config.val_dataloader.dataset)
    folder_config.test_dataloader.dataset.update(ann_file='labeled_b.txt')
    runner = DMTRunner(folder_config)
    text = runner.dry_run()
    pixels = SIZE[0] * SIZE[1]
    assert {title: counts.sum() for title, counts in runner.data.sets.class_counts.items()} == {
        'labeled a, first phase': pixels, 'labeled b, first phase': 2 * pixels, 'labeled': 3 * pixels,
        'unlabeled': 2 * pixels, 'val': 2 * pixels, 'test': 2 * pixels,
    }  # fmt: skip
    assert runner.data.sets.class_counts['unlabeled'][:3].tolist() == [512] * 3
    assert '| unlabeled, % |' in text
    assert 'warning: test_dataloader.dataset shares 2 of its images with the training images: ' in text


@pytest.mark.parametrize('fault', ['label', 'missing', 'broken'])
def test_faults_of_the_test_set_are_warned_of(folder_config, folder_data, fault):
    """Training does not need it."""
    folder_config.test_dataloader.dataset = copy.deepcopy(folder_config.val_dataloader.dataset)
    folder_config.test_dataloader.dataset.ann_file = 'test.txt'
    folder_config.dmt.rehearse = True
    (folder_data / 'test.txt').write_text('test0\n')
    save_palette_masks(folder_data, 'test', 1, shift=1)
    Image.new('RGB', SIZE[::-1]).save(folder_data / 'images/test0.png')
    if fault == 'missing':
        (folder_data / 'masks/test0.png').unlink()
    elif fault == 'broken':
        (folder_data / 'images/test0.png').write_bytes(b'no image')
    expected = dict(
        label=r'test0\.png holds label\(s\) \[3\]', missing='test0.png has no mask', broken='cannot be read'
    )
    text = DMTRunner(folder_config).dry_run()
    assert re.search(rf'warning: the test set cannot be used: test_dataloader\.dataset: .*{expected[fault]}', text)


def test_image_twice_in_the_validation_list(refused, folder_data):
    (folder_data / 'val.txt').write_text('val0\nval1\nval0\n')
    refused(ValueError, 'val_dataloader.dataset lists 1 of its images more than once', 'val0.png')


def test_zero_label_reduced_in_one_set_only(folder_config):
    folder_config.val_dataloader.dataset.reduce_zero_label = True
    text = DMTRunner(folder_config).dry_run()
    assert 'val_dataloader.dataset has reduce_zero_label=True, but dmt.labeled has False' in text


def test_split_of_too_few_images(refused, folder_config):
    folder_config.dmt.split = dict(ratio=105.82)
    refused(UserError, 'dmt.split: ratio must be at most the number of names (3) to label any; got 105.82')


def test_evaluator_that_ignores_another_label(folder_config):
    folder_config.val_evaluator.ignore_index = 0
    text = DMTRunner(folder_config).dry_run()
    assert 'warning: val_evaluator.ignore_index=0, but the masks mark ignored pixels by 255: ' in text


@pytest.mark.parametrize('key', ['decode_head', 'auxiliary_head'])
def test_head_that_ignores_another_label(refused, folder_config, key):
    head = dict(copy.deepcopy(folder_config.model.decode_head), ignore_index=0)
    folder_config.model[key] = head
    refused(ValueError, f'dmt.models.a: {key}.ignore_index=0', 'reduce_zero_label')


def test_resumed_run_reads_only_what_changed(folder_config, folder_data, monkeypatch):
    runner = DMTRunner(folder_config)
    runner.train(phase=runner.plan.phases[0].name)
    read, check_pair = [], mask_checks._check_pair

    def recorded(info, *args):
        read.append(Path(info['img_path']).stem)
        return check_pair(info, *args)

    monkeypatch.setattr(mask_checks, '_check_pair', recorded)
    folder_config.resume = True
    for expected in ([], ['labeled1', 'val0']):
        read.clear()
        for name in expected:
            os.utime(folder_data / f'masks/{name}.png')
        runner = DMTRunner(folder_config)
        runner.data.prepare(runner.work_dir / 'splits')
        runner.data.check()
        assert sorted(set(read)) == expected
        assert runner.data.sets.class_counts['labeled'].sum() == 3 * SIZE[0] * SIZE[1]


@pytest.mark.parametrize('content', [None, b'', b'labeled0', b'\0' * 9, b'of another run\n'])
def test_damaged_list_of_a_split_is_written_anew(folder_config, folder_data, content):
    """Unless the data has changed too: then nobody knows which images were labeled."""
    folder_config.dmt.split = dict(ratio=1.5)
    folder_config.dmt.unlabeled.ann_file = 'labeled.txt'
    init_default_scope('mmseg')
    lists = Path(folder_config.work_dir) / 'splits'
    RunData(RunPlan.of(folder_config), lists.parent).prepare(lists)
    path, before = lists / 'labeled.txt', (lists / 'labeled.txt').read_bytes()
    path.unlink() if content is None else path.write_bytes(content)
    RunData(RunPlan.of(folder_config), lists.parent).prepare(lists)
    assert path.read_bytes() == before
    (folder_data / 'labeled.txt').write_text('labeled2\nlabeled1\nval0\n')
    with pytest.raises(UserError, match=r'splits/.*\.txt was created from another list of images'):
        RunData(RunPlan.of(folder_config), lists.parent).prepare(lists)


@pytest.mark.parametrize(
    'options',
    [
        {'param_scheduler': ['PolyLR']},
        {'default_hooks.checkpoint': None},
        {'default_hooks.checkpoint.interval': '5'},
        {'optim_wrapper.accumulative_counts': 0},
    ],
    ids=str,
)
def test_config_of_a_phase_that_cannot_be_derived(folder_config, options):
    folder_config.merge_from_dict(options)
    with pytest.raises(UserError, match=r'^((the config of )?phase 00_train_a\b|default_hooks\.checkpoint)'):
        DMTRunner(folder_config).dry_run()


def test_two_classes_of_one_name(refused, folder_config):
    folder_config.dmt.labeled.metainfo = dict(classes=('road', 'road', 'sky'))
    refused(ValueError, "two of its classes are called 'road'")

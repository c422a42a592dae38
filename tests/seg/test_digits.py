import hashlib
import subprocess
import sys

import cv2
import numpy as np
import pytest
from mmengine import fileio
from mmseg.registry import DATASETS

from mmdmt.datasets import digit_rendering, digits
from mmdmt.errors import InstallationError
from mmdmt.seg.digit_rendering import digit_pool, render_scene
from mmdmt.seg.digits import DigitScenesDataset

# Of the pixels of images and masks of train 0, train 639 and val 7, with numpy 2.4; any other version and platform
# must give the same. A change of the scenes changes every figure measured on them.
PIXELS_SHA256 = '545a329919129b4c79087ac487fc88afbe62fe81e4b4719a43365b847313cc76'


@pytest.fixture(autouse=True)
def default_scope():
    from mmengine.registry import init_default_scope
    from mmseg.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    init_default_scope('mmseg')


def pixels_sha256():
    pixels = hashlib.sha256()
    for split, index in (('train', 0), ('train', 639), ('val', 7)):
        for array in render_scene(split, index):
            pixels.update(array.tobytes())
    return pixels.hexdigest()


def decode(path, flag=cv2.IMREAD_UNCHANGED):
    return cv2.imdecode(np.frombuffer(fileio.get(path), np.uint8), flag)


def test_scenes_are_the_recorded_ones():
    assert pixels_sha256() == PIXELS_SHA256


def test_fresh_render_gives_the_same_bytes():
    path = 'digits://train/images/000012.png'
    first = fileio.get(path)
    digits._files.cache_clear()
    digit_rendering.load_digits.cache_clear()
    assert fileio.get(path) == first
    assert fileio.get('digits://train/images/000013.png') != first


def test_rendering_leaves_the_global_random_state_alone():
    np.random.seed(3)
    expected = np.random.rand()
    np.random.seed(3)
    render_scene('val', 1)
    assert np.random.rand() == expected


def test_train_and_val_share_no_digit():
    train, val = digit_pool('train'), digit_pool('val')
    assert not set(train) & set(val)
    assert len(train) + len(val) == 1797


@pytest.mark.parametrize('split', ['train', 'val'])
def test_scenes_are_composed_of_the_digits_of_their_split(split, monkeypatch):
    used = []
    handwriting = digit_rendering._handwriting

    def recording(rng, source, is_fragment):
        used.append(source)
        return handwriting(rng, source, is_fragment)

    monkeypatch.setattr(digit_rendering, '_handwriting', recording)
    for index in range(20):
        render_scene(split, index)
    assert len(used) > 20
    assert set(used) <= set(digit_pool(split))


def test_mask_labels_the_ink_of_the_digit():
    ink = np.zeros((64, 64), dtype=np.int64)
    ink[30, 30] = 16
    mask = np.zeros((64, 64), dtype=np.uint8)
    digit_rendering._label(mask, ink, class_index=7)
    expected = np.zeros((64, 64), dtype=np.uint8)
    expected[27:34, 27:34] = 255
    expected[28:33, 28:33] = 7
    np.testing.assert_array_equal(mask, expected)


def test_labeled_scenes_show_every_class_and_no_other_label():
    masks = np.stack([decode(info['seg_map_path']) for info in DigitScenesDataset(subset='labeled')])
    assert masks.shape == (40, 64, 64)
    assert masks.dtype == np.uint8
    assert set(np.unique(masks)) == {*range(11), 255}


def test_resize_is_bilinear():
    values = np.array([[0, 16], [32, 48]])
    # Pixel centres of a doubled axis of two lie at -0.25, 0.25, 0.75, 1.25 of the old one; outside of it, the edge.
    np.testing.assert_array_equal(digit_rendering._resize(values, 2, 4), [[0, 4, 12, 16], [32, 36, 44, 48]])
    np.testing.assert_array_equal(digit_rendering._resize(values, 4, 2)[:, 0], [0, 8, 24, 32])


@pytest.mark.parametrize(
    ('kwargs', 'num_scenes', 'first', 'has_masks'),
    [
        ({'subset': 'labeled'}, 40, 'train/images/000000', True),
        ({'subset': 'unlabeled'}, 600, 'train/images/000040', False),
        ({'subset': 'train'}, 640, 'train/images/000000', True),
        ({'subset': 'val'}, 200, 'val/images/000000', True),
        ({'subset': 'labeled', 'num_labeled': 8}, 8, 'train/images/000000', True),
        ({'subset': 'unlabeled', 'num_labeled': 8}, 632, 'train/images/000008', False),
        ({'subset': 'val', 'indices': 5}, 5, 'val/images/000000', True),
    ],
)
def test_subsets(kwargs, num_scenes, first, has_masks):
    dataset = DATASETS.build({'type': 'DigitScenesDataset', **kwargs})
    assert len(dataset) == num_scenes
    infos = [dataset.get_data_info(index) for index in range(num_scenes)]
    assert infos[0]['img_path'] == f'digits://{first}.png'
    assert all(fileio.isfile(info['img_path']) for info in infos)
    assert all(('seg_map_path' in info) == has_masks for info in infos)
    if has_masks:
        assert all(info['seg_map_path'] == info['img_path'].replace('images', 'masks') for info in infos)
        assert all(fileio.isfile(info['seg_map_path']) for info in infos)


def test_metainfo_has_one_color_per_class():
    metainfo = DigitScenesDataset(subset='val').metainfo
    assert metainfo['classes'] == ('background', *(f'digit {digit}' for digit in range(10)))
    assert len({tuple(color) for color in metainfo['palette']}) == 11


def test_stock_pipeline_reads_the_scene():
    pipeline = [{'type': 'LoadImageFromFile'}, {'type': 'LoadAnnotations'}, {'type': 'PackSegInputs'}]
    sample = DigitScenesDataset(subset='val', pipeline=pipeline)[7]
    scene = render_scene('val', 7)
    assert sample['inputs'].shape == (3, 64, 64)
    np.testing.assert_array_equal(sample['inputs'].numpy()[::-1], scene.image.transpose(2, 0, 1))  # the sample is BGR
    np.testing.assert_array_equal(sample['data_samples'].gt_sem_seg.data.numpy()[0], scene.mask)


@pytest.mark.parametrize(
    'path',
    [
        'digits://test/images/000000.png',
        'digits://train/labels/000000.png',
        'digits://train/images/000640.png',
        'digits://val/images/000200.png',
        'digits://val/images/12.png',
    ],
)
def test_unknown_path_is_refused(path):
    assert not fileio.exists(path)
    assert not fileio.isfile(path)
    with pytest.raises(FileNotFoundError, match=r'digits://val/\{images,masks\}/000000\.png to 000199\.png'):
        fileio.get(path)


def test_folders_exist_and_are_no_files():
    for folder in ('digits://train', 'digits://val/masks', 'digits://val/masks/'):
        assert fileio.isdir(folder)
        assert fileio.exists(folder)
        assert not fileio.isfile(folder)
    assert not fileio.isdir('digits://test')
    assert not fileio.isdir('digits://val/masks/000000.png')


def test_text_is_refused():
    with pytest.raises(NotImplementedError, match='PNG'):
        fileio.get_text('digits://val/masks/000000.png')


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"'labeled', 'unlabeled', 'train', 'val'.*got 'test'"):
        DigitScenesDataset(subset='test')
    for num_labeled in (0, 640):
        with pytest.raises(ValueError, match=f'1 to 639, got {num_labeled}'):
            DigitScenesDataset(subset='labeled', num_labeled=num_labeled)
    with pytest.raises(ValueError, match="got 'test'"):
        render_scene('test', 0)
    with pytest.raises(IndexError, match='0 to 199, got 200'):
        render_scene('val', 200)


def test_missing_sklearn_is_named(monkeypatch):
    digit_rendering.load_digits.cache_clear()
    monkeypatch.setitem(sys.modules, 'sklearn.datasets', None)
    with pytest.raises(InstallationError, match=r"scikit-learn, which is missing: pip install -e '\.\[demo\]'"):
        render_scene('val', 0)


def test_import_needs_no_sklearn():
    code = (
        'import sys; sys.modules["sklearn"] = None; import mmdmt.seg.digits as d; '
        'print(len(d.DigitScenesDataset(subset="train")), d._files.cache_info().currsize)'
    )
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert result.stdout.split()[-2:] == ['640', '0'], result.stderr

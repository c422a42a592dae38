import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmseg.datasets.transforms import RandomRotate

from mmdmt.core.confidence import decode
from mmdmt.errors import UserError
from mmdmt.labels.maps import LabelMaps
from mmdmt.labels.selected_pixels import PixelLabels, SelectedPixels
from mmdmt.seg.transforms import MarkValid

HEIGHT, WIDTH = 45, 60
LABEL = np.random.default_rng(0).integers(0, 200, (HEIGHT, WIDTH)).astype(np.uint8)
CODE = LABEL.astype(np.uint16) * 257
# Classes under 50 fall under their threshold, all others are above theirs.
THRESHOLDS = np.where(np.arange(200) < 50, 65535, 0).astype(np.uint16)


@pytest.fixture
def image(write_png):
    """Its grey value at each pixel is the label there."""
    return write_png('images/x.png', np.repeat(LABEL[..., None], 3, axis=2))


@pytest.fixture
def human(image, write_png):
    """Data information as a labeled mmseg dataset gives it."""
    return {'img_path': image, 'seg_map_path': write_png('masks/x.png', LABEL), 'label_map': None,
            'reduce_zero_label': False, 'seg_fields': [], 'sample_idx': 4}  # fmt: skip


@pytest.fixture
def pseudo(image, tmp_path):
    """Data information as a PseudoLabelDataset gives it."""
    store = LabelMaps(tmp_path / 'store')
    store.write('x', LABEL, CODE)
    return {'img_path': image, 'label_map': None, 'reduce_zero_label': False, 'seg_fields': [], 'sample_idx': 7,
            **SelectedPixels(store, 1, THRESHOLDS).fields(0, 'x')}  # fmt: skip


def run(info, *transforms):
    return Compose([t if isinstance(t, dict) else {'type': t} for t in transforms])({**info, 'seg_fields': []})


def test_human_labels_get_the_sentinel(human):
    results = run(human, 'LoadImageFromFile', 'LoadDMTAnnotations')
    np.testing.assert_array_equal(results['gt_seg_map'], LABEL)
    assert results['gt_confidence'].dtype == np.float32
    assert results['gt_confidence'].shape == (HEIGHT, WIDTH)
    assert (results['gt_confidence'] == 2.0).all()
    assert results['seg_fields'] == ['gt_seg_map', 'gt_confidence']


def test_pseudo_labels_and_their_confidence(pseudo):
    results = run(pseudo, 'LoadImageFromFile', 'LoadDMTAnnotations')
    assert results['gt_seg_map'].dtype == np.uint8
    np.testing.assert_array_equal(results['gt_seg_map'], np.where(LABEL < 50, 255, LABEL))
    assert results['gt_confidence'].dtype == np.float32
    expected = 1 / (1 + np.exp(6 - LABEL.astype(np.float64) * 257 / 65535 * 48))
    np.testing.assert_allclose(results['gt_confidence'], expected, rtol=1e-5)
    assert results['seg_fields'] == ['gt_seg_map', 'gt_confidence']


def test_the_label_of_the_dataset_is_placed_as_it_is(image):
    label, confidence = np.array([[0, 255, 3]], np.uint8), np.array([[0.5, 0.25, 1.0]], np.float32)
    results = run({'img_path': image, 'pseudo_label': PixelLabels(label, confidence, '')}, 'LoadDMTAnnotations')
    assert results['gt_seg_map'] is label
    assert results['gt_confidence'] is confidence
    assert 'pseudo_label' not in results


def test_label_maps_apply_to_human_labels_only(human, pseudo):
    """Pseudo labels are class indices of the model already."""
    loaded = [run({**info, 'reduce_zero_label': True}, 'LoadDMTAnnotations')['gt_seg_map'] for info in (human, pseudo)]
    np.testing.assert_array_equal(loaded[0], np.where(LABEL == 0, 255, LABEL - 1))
    np.testing.assert_array_equal(loaded[1], np.where(LABEL < 50, 255, LABEL))
    info = {'label_map': {60: 3, 61: 4}}
    loaded = [run({**source, **info}, 'LoadDMTAnnotations')['gt_seg_map'] for source in (human, pseudo)]
    assert set(loaded[0][LABEL == 60]) == {3}
    assert set(loaded[1][LABEL == 60]) == {60}


def test_images_of_another_size_are_refused(pseudo):
    resize = {'type': 'Resize', 'scale': (30, 20), 'keep_ratio': False}
    with pytest.raises(ValueError, match=r'x\.png is \(20, 30\).*x\.png is \(45, 60\).*resize the image in both'):
        run(pseudo, 'LoadImageFromFile', resize, 'LoadDMTAnnotations')


AUGMENTATION = [
    {'type': 'RandomResize', 'scale': (WIDTH, HEIGHT), 'ratio_range': (0.5, 1.5), 'keep_ratio': True,
     'interpolation': 'nearest'},
    {'type': 'RandomCrop', 'crop_size': (32, 32)},
    {'type': 'RandomFlip', 'prob': 0.5},
]  # fmt: skip


@pytest.mark.parametrize('seed', range(12))
def test_stock_augmentation_moves_image_label_and_confidence_together(human, pseudo, seed):
    table = decode(torch.arange(200) * 257).numpy()
    for info in (human, pseudo):
        np.random.seed(seed)
        results = run(info, 'LoadImageFromFile', 'LoadDMTAnnotations', *AUGMENTATION)
        shown = results['img'][..., 0]  # the label map before any was ignored
        if info is human:
            expected = shown, np.full(shown.shape, 2.0, np.float32)
        else:
            expected = np.where(shown < 50, 255, shown), table[shown]
        np.testing.assert_array_equal(results['gt_seg_map'], expected[0])
        np.testing.assert_array_equal(results['gt_confidence'], expected[1])
        assert results['img'].shape[:2] != (HEIGHT, WIDTH)


def test_augmentation_of_the_test_above_is_not_the_identity(human):
    flips, shapes = set(), set()
    for seed in range(12):
        np.random.seed(seed)
        results = run(human, 'LoadImageFromFile', 'LoadDMTAnnotations', *AUGMENTATION)
        flips.add(results['flip'])
        shapes.add(results['img'].shape[:2])
    assert flips == {True, False}
    assert len(shapes) > 2


@pytest.mark.parametrize(
    'transform',
    [
        {'type': 'RandomRotate', 'prob': 1.0, 'degree': 20.0},
        {'type': 'Resize', 'scale': (40, 90), 'keep_ratio': False},
        {'type': 'ResizeToMultiple', 'size_divisor': 32},
        {'type': 'SegRescale', 'scale_factor': 0.5},
        {'type': 'RandomCutOut', 'prob': 1.0, 'n_holes': 3, 'cutout_shape': (9, 9), 'seg_fill_in': 255},
    ],
    ids=lambda transform: transform['type'],
)
def test_other_stock_transforms_keep_them_together(pseudo, transform):
    pseudo['pseudo_label'] = pseudo['pseudo_label']._replace(label=LABEL.copy())  # nothing ignored
    results = run(pseudo, 'LoadImageFromFile', 'LoadDMTAnnotations', transform)
    label, confidence = results['gt_seg_map'], results['gt_confidence']
    assert (label.shape != (HEIGHT, WIDTH)) or (label != LABEL).any()
    valid = label != 255
    table = decode(torch.arange(200) * 257).numpy()
    assert valid.any()
    np.testing.assert_array_equal(confidence[valid], table[label[valid]])


def test_pack(human, pseudo):
    for info, index in ((human, 4), (pseudo, 7)):
        packed = run(info, 'LoadImageFromFile', 'LoadDMTAnnotations', 'PackDMTInputs')
        assert (packed['inputs'].shape, packed['inputs'].dtype) == ((3, HEIGHT, WIDTH), torch.uint8)
        sample = packed['data_samples']
        label, confidence = sample.gt_sem_seg.data, sample.gt_confidence.data
        assert (label.shape, label.dtype) == ((1, HEIGHT, WIDTH), torch.int64)
        assert (confidence.shape, confidence.dtype) == ((1, HEIGHT, WIDTH), torch.float32)
        assert sample.metainfo['sample_idx'] == index
        assert sample.metainfo['ori_shape'] == (HEIGHT, WIDTH)


def test_pack_without_annotations(pseudo):
    sample = run(pseudo, 'LoadImageFromFile', 'PackDMTInputs')['data_samples']
    assert sample.metainfo['sample_idx'] == 7
    assert 'gt_confidence' not in sample
    assert 'gt_sem_seg' not in sample


def test_pack_with_own_meta_keys(human):
    pack = {'type': 'PackDMTInputs', 'meta_keys': ('img_shape',)}
    sample = run(human, 'LoadImageFromFile', 'LoadDMTAnnotations', pack)['data_samples']
    assert sample.metainfo == {'img_shape': (HEIGHT, WIDTH), 'sample_idx': 4}


def test_pack_takes_views(pseudo):
    """torch takes no array with negative strides, which a transform that flips may leave."""
    results = run(pseudo, 'LoadImageFromFile', 'LoadDMTAnnotations')
    for key in ('img', 'gt_seg_map', 'gt_confidence'):
        results[key] = results[key][:, ::-1]
    sample = Compose([{'type': 'PackDMTInputs'}])(results)['data_samples']
    np.testing.assert_array_equal(sample.gt_confidence.data[0], results['gt_confidence'])


@pytest.mark.parametrize('transform', [{'type': 'Pad', 'size': (80, 80)}, {'type': 'CenterCrop', 'crop_size': 32}])
def test_pack_refuses_what_left_the_confidence_behind(human, transform):
    with pytest.raises(ValueError, match=r'gt_confidence \(45, 60\).*ignores `seg_fields` \(mmcv Pad does'):
        run(human, 'LoadImageFromFile', 'LoadDMTAnnotations', transform, 'PackDMTInputs')


def test_set_original_shape(pseudo):
    resize = {'type': 'Resize', 'scale': (30, 20), 'keep_ratio': False}
    for transforms, shape in (([], (45, 60)), (['SetOriginalShape'], (20, 30))):
        packed = run(pseudo, 'LoadImageFromFile', resize, *transforms, 'PackDMTInputs')
        assert packed['data_samples'].metainfo['ori_shape'] == shape


def test_truth_at_the_size_that_is_tested(human):
    """A test at half size: predictions come back at 22 x 30, and the label map is each second pixel of the file."""
    resize = {'type': 'Resize', 'scale': (30, 22), 'keep_ratio': False}
    results = run(human, 'LoadImageFromFile', resize, 'SetOriginalShape', 'LoadAnnotations', 'ResizeLabels')
    assert results['ori_shape'] == results['img'].shape[:2] == results['gt_seg_map'].shape == (22, 30)
    rows, columns = (np.arange(22) * 45 / 22).astype(int), np.arange(30) * 2
    np.testing.assert_array_equal(results['gt_seg_map'], LABEL[rows][:, columns])


def test_every_map_gets_the_size_that_is_tested(human):
    resize = {'type': 'Resize', 'scale': (30, 22), 'keep_ratio': False}
    results = run(human, 'LoadImageFromFile', resize, 'SetOriginalShape', 'LoadDMTAnnotations', 'ResizeLabels')
    assert {key: results[key].shape for key in results['seg_fields']} == dict.fromkeys(
        ('gt_seg_map', 'gt_confidence'), (22, 30)
    )


def test_own_size_random_resize(human):
    """Half of 60 x 45, not of the scale: a short side of int(22.5), a long one of 22 * 60 / 45 = 29.3."""
    resize = dict(type='OwnSizeRandomResize', scale=(500, 500), ratio_range=(0.5, 0.5), keep_ratio=True)
    results = run(human, 'LoadImageFromFile', 'LoadDMTAnnotations', resize)
    assert results['img'].shape == (22, 29, 3)
    assert results['gt_seg_map'].shape == results['gt_confidence'].shape == (22, 29)


def test_own_size_random_resize_needs_a_range(human):
    with pytest.raises(UserError, match='ratio_range is missing'):
        run(human, dict(type='OwnSizeRandomResize'))


def test_marked_pixels_are_valid_but_not_what_rotation_and_padding_fill():
    results = MarkValid()(dict(img=np.ones((8, 8, 3), np.uint8), seg_fields=[]))
    assert results['seg_fields'] == ['gt_seg_map']
    assert (results['gt_seg_map'] == 0).all()
    turned = RandomRotate(prob=1.0, degree=(45, 45), pad_val=0, seg_pad_val=255)(results)
    assert set(np.unique(turned['gt_seg_map'])) == {0, 255}
    assert turned['gt_seg_map'][0, 0] == 255
    assert ((turned['img'][..., 0] == 0) <= (turned['gt_seg_map'] == 255)).all()

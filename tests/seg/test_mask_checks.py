"""One check at a time; that a run makes all of them before its first step is in tests/engine/test_run_data.py."""

from pathlib import Path

import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from mmengine.dataset import ConcatDataset
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations, RandomRotFlip
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmdmt.errors import UserError
from mmdmt.seg.digits import DigitScenesDataset
from mmdmt.seg.mask_checks import (
    check_labeled,
    check_pipeline,
    check_sample,
    check_unlabeled_sample,
    classes_shown,
    count_unlabeled,
)

LOAD, PACK = dict(type='LoadImageFromFile'), dict(type='PackDMTInputs')
TRAIN = [LOAD, dict(type='LoadDMTAnnotations'), PACK]
FLIP, REFUSED = dict(type='RandomFlip', prob=0.5), dict(type='RandomRotFlip')


@pytest.fixture
def make(tmp_path, write_image):
    """A dataset of an image of height 4 and width 6 for each mask, which may be None."""

    def make(*masks, pipeline=TRAIN, **kwargs):
        for number, mask in enumerate(masks):
            write_image(tmp_path / f'images/{number}.png', np.full((4, 6, 3), number, np.uint8))
            if mask is not None:
                write_image(tmp_path / f'masks/{number}.png', mask)
        return BaseSegDataset(
            data_root=str(tmp_path),
            pipeline=pipeline,
            serialize_data=False,
            **{
                'metainfo': dict(classes=('a', 'b', 'c')),
                'data_prefix': dict(img_path='images', seg_map_path='masks'),
                'img_suffix': '.png',
                **kwargs,
            },
        )

    return make


def mask(*values, size=(4, 6)):
    mask = np.zeros(size, np.uint8)
    mask.flat[: len(values)] = values
    return mask


def test_labels_are_classes_or_255(make):
    check_labeled(make(mask(0, 1, 2), mask(255)), 'dmt.labeled', 3)
    with pytest.raises(ValueError, match=r'masks/1\.png holds label\(s\) \[3, 254\]; allowed are 0\.\.2 and 255'):
        check_labeled(make(mask(2), mask(3, 254, 255, 3)), 'dmt.labeled', 3)


def test_labels_are_looked_at_as_they_are_learned(make):
    """After ``reduce_zero_label`` (0 becomes 255, 3 becomes 2) and after a choice of the classes."""
    check_labeled(make(mask(0, 1, 3), reduce_zero_label=True), 'dmt.labeled', 3)
    with pytest.raises(ValueError, match=r'label\(s\) \[3\]'):
        check_labeled(make(mask(0, 1, 4), reduce_zero_label=True), 'dmt.labeled', 3)

    class Known(BaseSegDataset):
        METAINFO = dict(classes=('a', 'b', 'c'))

    folder = Path(make(mask(0, 1, 2)).data_root)
    chosen = Known(data_root=str(folder), data_prefix=dict(img_path='images', seg_map_path='masks'),
                   img_suffix='.png', metainfo=dict(classes=('b', 'c')))  # fmt: skip
    check_labeled(chosen, 'dmt.labeled', 2)  # `a` becomes 255


def test_masks_behind_a_file_backend():
    check_labeled(DigitScenesDataset(subset='val', indices=2), 'val_dataloader.dataset', 11)


def test_number_of_classes(make):
    with pytest.raises(ValueError, match=r'^dmt\.labeled has 3 classes \(a, b, c\), but the model has num_classes=2$'):
        check_labeled(make(mask()), 'dmt.labeled', 2)
    dataset = make(mask(1))
    dataset._metainfo.pop('classes')
    check_labeled(dataset, 'dmt.labeled', 2)  # it does not say


def test_the_first_mistake_is_named(make, tmp_path):
    good = [mask()] * 12
    with pytest.raises(
        FileNotFoundError, match=r'^dmt\.labeled: image .*images/12\.png has no mask at .*masks/12\.png'
    ):
        check_labeled(make(*good, None, mask(9), mask(size=(6, 4))), 'dmt.labeled', 3)
    with pytest.raises(ValueError, match=r'masks/0\.png is \(6, 4\) \(height, width\), but .*0\.png is \(4, 6\)'):
        check_labeled(make(mask(size=(6, 4)), None, mask(9)), 'dmt.labeled', 3)


def test_dataset_that_names_no_mask():
    with pytest.raises(FileNotFoundError, match=r'images/000040\.png has no mask at None$'):
        check_labeled(DigitScenesDataset(subset='unlabeled', indices=1), 'dmt.labeled', 11)


@pytest.mark.parametrize(
    'pipeline',
    [
        [],
        [LOAD, FLIP, dict(type='RandomApply', transforms=[FLIP])],
        [dict(type='RandomChoice', transforms=[[FLIP], [LOAD, FLIP]])],
        [dict(type='Resize', scale=(4, 4), backend='cv2'), lambda results: results],
    ],
    ids=['nothing', 'apply', 'choice', 'own'],
)
def test_pipeline_that_can_be_used(pipeline):
    check_pipeline(pipeline, 'dmt.labeled.pipeline')


@pytest.mark.parametrize(
    'pipeline',
    [
        [LOAD, REFUSED],
        [RandomRotFlip()],
        [dict(type='RandomApply', transforms=[FLIP, REFUSED])],
        [dict(type='RandomChoice', transforms=([FLIP], (FLIP, dict(type='RandomApply', transforms=[REFUSED]))))],
    ],
    ids=['plain', 'built', 'apply', 'choice'],
)
def test_refused_transform_is_found_wherever_it_is(pipeline):
    with pytest.raises(ValueError, match=r'^dmt\.labeled\.pipeline: transform RandomRotFlip cannot be .*bilinearly'):
        check_pipeline(pipeline, 'dmt.labeled.pipeline')


def test_pillow_is_refused():
    pipeline = [dict(type='RandomApply', transforms=[dict(type='Resize', scale=(4, 4), backend='pillow')])]
    with pytest.raises(ValueError, match=r"^key: transform Resize needs backend='cv2'"):
        check_pipeline(pipeline, 'key')


def test_training_sample_has_a_confidence(make):
    check_sample(make(mask()), 'dmt.labeled')
    for pipeline in ([LOAD], [LOAD, dict(type='LoadAnnotations'), PACK], [LOAD, PACK, lambda results: [results]]):
        with pytest.raises(ValueError, match=r'^dmt\.labeled\.pipeline must load with LoadDMTAnnotations and end with'):
            check_sample(make(mask(), pipeline=pipeline), 'dmt.labeled')


def test_unlabeled_sample_gets_a_label_of_the_size_that_it_is_labeled_at(make):
    """The whole image gets one; at another size, both pipelines must resize."""
    seen, resize = [], dict(type='Resize', scale=(3, 2))
    half = [LOAD, resize, dict(type='SetOriginalShape'), PACK]

    def look(results):
        seen.append((results['gt_seg_map'].shape, results['gt_confidence'].dtype, results['gt_seg_map'].dtype))
        return results

    check_unlabeled_sample(make(mask()), [LOAD, PACK], [*TRAIN[:2], look, PACK])
    check_unlabeled_sample(make(mask()), half, [LOAD, resize, TRAIN[1], look, PACK])
    assert seen == [((4, 6), np.float32, np.uint8), ((2, 3), np.float32, np.uint8)]
    with pytest.raises(ValueError, match=r'^dmt\.unlabeled\.pipeline fails .*\(sized by dmt\.label_pipeline\)'):
        check_unlabeled_sample(make(mask()), half, TRAIN)


@pytest.mark.parametrize(
    'transform',
    [dict(type='CenterCrop', crop_size=(2, 2)), dict(type='Pad', size=(8, 8)), dict(type='Pad', size_divisor=4)],
    ids=str,
)
def test_unlabeled_image_that_is_cut_or_padded_to_label_it(make, transform):
    with pytest.raises(UserError, match=r'^dmt\.label_pipeline turns .* of 4 x 6 pixels into \d x \d by other means'):
        check_unlabeled_sample(make(mask()), [LOAD, transform, PACK], TRAIN)


def test_padding_that_would_be_learned():
    transform = dict(type='RandomRotate', prob=0.5, degree=10, seg_pad_val=0)
    with pytest.raises(UserError, match=r'^x: transform RandomRotate has seg_pad_val=0, which would be learned'):
        check_pipeline([LOAD, dict(type='RandomApply', transforms=[transform]), PACK], 'x')
    check_pipeline([LOAD, dict(transform, seg_pad_val=255), PACK], 'x')


def test_unlabeled_sample_that_is_not_packed(make):
    with pytest.raises(ValueError, match=r'^dmt\.label_pipeline must end with PackDMTInputs$'):
        check_unlabeled_sample(make(mask()), [LOAD, dict(type='PackSegInputs')], TRAIN)
    with pytest.raises(ValueError, match=r'^dmt\.unlabeled\.pipeline must load with LoadDMTAnnotations and end with'):
        check_unlabeled_sample(make(mask()), [LOAD, PACK], [LOAD, PACK])


def test_pixels_are_counted_by_class(make):
    counts = check_labeled(make(mask(0, 1, 2), mask(255, 2)), 'dmt.labeled', 3)
    assert counts.shape == (256,)
    assert {label: int(count) for label, count in enumerate(counts) if count} == {0: 44, 1: 1, 2: 2, 255: 1}


@pytest.mark.parametrize(
    ('masks', 'classes', 'message'),
    [
        (
            [mask(255, 255), mask(255)],
            ('ground', 'thing'),
            r"'ground' only, .* of thing\. 255 means ignored.*by 255",
        ),
        ([mask(), mask()], ('ground', 'thing'), r"the masks show class 'ground' only, and no pixel of thing$"),
        ([np.full((4, 6), 255, np.uint8)], ('a', 'b', 'c'), 'every pixel of every mask is 255, which means ignored'),
        ([mask() + 1, mask(2, 1) + 1], ('a', 'b', 'c'), r'count from 1 need reduce_zero_label=True'),
        ([mask() + 1, mask(4, 3, 2) + 1], ('a', 'b', 'c'), r'label\(s\) \[3, 4, 5\].*ignored\)$'),
        ([mask(0, 128, 200)], ('a', 'b'), r'label\(s\) \[128, 200\]; allowed are 0\.\.1 and 255'),
        ([mask(*range(3, 20))], ('a', 'b'), r'\[3, 4, 5, 6, 7, 8, 9, 10\] and 9 more; allowed'),
        ([np.zeros((4, 6, 3), np.uint8)], ('a', 'b'), r'masks/0\.png has 3 channels; .* all equal: store one of them$'),
        ([np.eye(6, dtype=np.uint8)[:4, :, None] * [0, 1, 2]], ('a', 'b'), r'has 3 channels; .* class indices$'),
        ([np.zeros((4, 6, 4), np.uint8)], ('a', 'b'), r'masks/0\.png has 4 channels; a mask needs one'),
        ([mask(1).astype(np.uint16) * 256], ('a', 'b'), r"holds numbers of more than 8 bits \(mode 'I.*such as 256; "),
    ],
)
def test_masks_that_teach_nothing_or_something_else(make, masks, classes, message):
    masks = [item.astype(np.uint8) if item.dtype == np.int64 else item for item in masks]
    with pytest.raises(ValueError, match=message):
        check_labeled(make(*masks, metainfo=dict(classes=classes)), 'dmt.labeled', len(classes))


def save_turned(path, orientation, size=(6, 4)):
    exif = Image.Exif()
    exif[274] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, exif=exif)


@pytest.mark.parametrize(
    ('values', 'message'),
    [([0, 1, 2], None), ([0, 1, 1.5], r"floating-point numbers \(mode 'F'\), such as 1\.5"), ([0, 256], 'such as 256'),
     ([0, -1], 'such as -1'), ([0, np.nan], 'such as nan')],
)  # fmt: skip
def test_float_masks(make, values, message):
    """Whole numbers survive; the stock transform cuts off what is behind the point."""
    folder = Path(make(mask()).data_root)
    Image.fromarray(np.resize(np.array(values, np.float32), (4, 6))).save(folder / 'masks/0.tif')
    if message is None:
        check_labeled(make(mask(), seg_map_suffix='.tif'), 'dmt.labeled', 3)
    else:
        with pytest.raises(ValueError, match=message):
            check_labeled(make(mask(), seg_map_suffix='.tif'), 'dmt.labeled', 3)


@pytest.mark.parametrize('kind', [np.uint16, np.int32])
def test_deep_masks_of_small_values(make, kind):
    """As labeling tools write them: nothing is lost where they are cut to 8 bits."""
    folder = Path(make(mask()).data_root)
    Image.fromarray(mask(0, 1, 2, 255).astype(kind)).save(folder / 'masks/0.tif')
    counts = check_labeled(make(None, seg_map_suffix='.tif'), 'dmt.labeled', 3)
    assert counts[[0, 1, 2, 255]].tolist() == [21, 1, 1, 1]


@pytest.mark.parametrize('mode', ['P', '1', 'L'])
def test_masks_of_one_channel(make, mode):
    folder = Path(make(mask()).data_root)
    Image.fromarray(mask(1) * (255 if mode == '1' else 1)).convert(mode).save(folder / 'masks/0.png')
    written = Image.open(folder / 'masks/0.png')
    assert written.mode == mode
    (folder / 'kept.png').write_bytes((folder / 'masks/0.png').read_bytes())
    dataset = make(None)
    assert check_labeled(dataset, 'dmt.labeled', 3)[1] in (1, 23)


def test_masks_in_jpeg(make):
    folder = Path(make(mask()).data_root)
    noise = np.random.default_rng(0).integers(0, 3, (4, 6), dtype=np.uint8) * 100
    Image.fromarray(noise).save(folder / 'masks/0.jpg')
    with pytest.raises(ValueError, match=r'masks/0\.jpg holds label.*; JPEG changes values: store masks as PNG$'):
        check_labeled(make(mask(), seg_map_suffix='.jpg'), 'dmt.labeled', 3)


class LoadOwnMask(LoadAnnotations):
    """Reads colors, or 16 bits, by itself: the stock transform would cut or refuse them."""

    def _load_seg_map(self, results):
        pixels = np.array(Image.open(results['seg_map_path'])).astype(np.int64)
        results['gt_seg_map'] = (pixels.sum(-1) if pixels.ndim == 3 else pixels) // 256
        results['seg_fields'].append('gt_seg_map')


class ReadMask(BaseTransform):
    def transform(self, results):
        results['gt_seg_map'] = np.load(results['seg_map_path'])
        return results


@pytest.mark.parametrize(
    'pixels', [mask(1, 2).astype(np.uint16) * 256, mask(1, 2)[..., None] * np.full(4, 64, np.uint8)]
)
def test_masks_that_only_their_own_transform_can_load(make, pixels):
    counts = check_labeled(make(pixels, pipeline=[LOAD, LoadOwnMask()]), 'dmt.labeled', 3)
    assert counts[:3].tolist() == [22, 1, 1]


@pytest.mark.parametrize(('kind', 'message'), [(np.int64, None), (np.float32, None), (np.float64, r'\[0\.5\]')])
def test_masks_of_other_files_by_a_transform_of_any_name(make, kind, message):
    folder = Path(make(mask()).data_root)
    values = mask(1, 2).astype(kind)
    values[0, 0] = 0.5 if message else 1
    np.save(folder / 'masks/0.npy', values)
    dataset = make(mask(), pipeline=[LOAD, ReadMask()], seg_map_suffix='.npy')
    if message is None:
        assert check_labeled(dataset, 'dmt.labeled', 3)[:3].tolist() == [22, 1, 1]
    else:
        with pytest.raises(ValueError, match=message):
            check_labeled(dataset, 'dmt.labeled', 3)


def test_each_part_of_a_concatenation_has_its_own_transforms(make, tmp_path):
    folder = Path(make(mask(0, 1, 2)).data_root)
    np.save(folder / 'masks/0.npy', mask(1, 2))
    stock = make(mask(0, 1, 2))
    own = make(mask(0, 1, 2), pipeline=[LOAD, ReadMask()], seg_map_suffix='.npy')
    counts = check_labeled(ConcatDataset([stock, own]), 'dmt.labeled', 3)
    assert counts[:3].tolist() == [22 + 22, 1 + 1, 1 + 1]


def test_masks_of_unlabeled_images_are_counted(make, tmp_path):
    counts = count_unlabeled(make(mask(1, 2, 255), None, mask(2), np.zeros((4, 6, 3), np.uint8)), TRAIN, 3)
    assert counts[[0, 1, 2, 255]].tolist() == [21 + 23, 1, 2, 1]
    (tmp_path / 'masks/0.png').write_bytes(b'no image')
    assert count_unlabeled(make(None, None, mask(2), None), TRAIN, 3)[[0, 1, 2]].tolist() == [23, 0, 1]
    assert not count_unlabeled(DigitScenesDataset(subset='unlabeled', indices=1), TRAIN, 11).any()


def test_masks_as_the_converter_of_mmsegmentation_leaves_them(make, write_image):
    """SBD's masks only: the images that are of VOC alone have none."""
    folder = Path(make(mask(0, 1, 2)).data_root)
    for name, kind in (('0', 'Class'), ('1', 'Class'), ('0', 'ClassAug')):
        write_image(folder / f'Segmentation{kind}/{name}.png', mask(0, 1, 2))
    prefix = dict(img_path='images', seg_map_path='SegmentationClassAug')
    command = rf'cp {folder}/SegmentationClass/\*\.png {folder}/SegmentationClassAug/$'
    with pytest.raises(
        FileNotFoundError, match=rf'SegmentationClassAug lacks 1 of the masks of .*1\.png: .* {command}'
    ):
        check_labeled(make(mask(), data_prefix=prefix), 'dmt.labeled', 3)
    write_image(folder / 'SegmentationClassAug/1.png', mask(0, 1, 2))
    check_labeled(make(mask(), data_prefix=prefix), 'dmt.labeled', 3)


@pytest.mark.parametrize('orientation', [2, 3, 4])
def test_turned_images_of_the_same_size_are_refused(make, orientation):
    """Loading turns the image by half a circle, or mirrors it, and leaves its mask alone."""
    save_turned(Path(make(mask(0, 1, 2)).data_root) / 'images/0.jpg', orientation)
    with pytest.raises(ValueError, match=rf'0\.jpg has EXIF orientation {orientation}: loading turns the image'):
        check_labeled(make(mask(0, 1, 2), img_suffix='.jpg'), 'dmt.labeled', 3)
    ignoring = [dict(LOAD, color_type='color_ignore_orientation'), *TRAIN[1:]]
    check_labeled(make(mask(0, 1, 2), img_suffix='.jpg', pipeline=ignoring), 'dmt.labeled', 3)


def test_turned_images_fit_or_do_not_fit_their_masks(make):
    """A photo in portrait form, stored lying on its side: its mask is compared with what the pipeline loads."""
    folder = Path(make(mask(0, 1, 2)).data_root)
    save_turned(folder / 'images/0.jpg', 6, size=(4, 6))  # 6 wide and 4 high once it is turned
    check_labeled(make(mask(0, 1, 2), img_suffix='.jpg'), 'dmt.labeled', 3)
    save_turned(folder / 'images/0.jpg', 6, size=(6, 4))
    with pytest.raises(ValueError, match=r'is \(4, 6\).*0\.jpg is \(6, 4\) \(turned by its EXIF orientation 6\)'):
        check_labeled(make(mask(0, 1, 2), img_suffix='.jpg'), 'dmt.labeled', 3)


def test_images_that_only_their_own_transform_can_load(make, monkeypatch):
    """Five channels in a NumPy file; the transform is the user's."""

    class LoadFive(BaseTransform):
        def transform(self, results):
            results['img'] = np.load(results['img_path'])
            results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
            return results

    monkeypatch.setitem(TRANSFORMS.module_dict, 'LoadFive', LoadFive)
    folder = Path(make(mask(0, 1, 2)).data_root)
    np.save(folder / 'images/0.npy', np.zeros((4, 6, 5), np.float32))
    check_labeled(
        make(mask(0, 1, 2), img_suffix='.npy', pipeline=[dict(type='LoadFive'), *TRAIN[1:]]), 'dmt.labeled', 3
    )


@pytest.mark.parametrize(
    'transform',
    [
        dict(type='mmseg.RandomRotFlip'),
        dict(type=RandomRotFlip),
        dict(type='RandomApply', transforms=REFUSED),
        dict(type='RandomApply', transforms=[REFUSED]),
    ],
)
def test_refused_transforms_in_any_spelling(transform):
    with pytest.raises(ValueError, match='RandomRotFlip cannot be used'):
        check_pipeline([LOAD, transform], 'dmt.labeled.pipeline')


def test_classes_that_are_a_text(make):
    """``classes=('disc')`` is no tuple."""
    with pytest.raises(ValueError, match=r"classes='abc' is a text, not a list of names; write \('abc',\)"):
        check_labeled(make(mask(0, 1, 2), metainfo=dict(classes='abc')), 'dmt.labeled', 3)


def test_classes_that_masks_show(make):
    assert classes_shown(make(mask(0, 1), mask(*[255] * 24), mask(2, 255)), 'dmt.labeled', 3) == [[0, 1], [], [0, 2]]
    with pytest.raises(ValueError, match=r'dmt\.labeled: mask .*masks/0\.png holds label'):
        classes_shown(make(mask(7)), 'dmt.labeled', 3)

import numpy as np
import pytest
import torch
from mmcv.transforms import RandomFlip, RandomGrayscale
from mmseg.datasets.transforms import PackSegInputs

from mmdmt.datasets.strong_color import StrongColor
from mmdmt.datasets.views import Views, collate_views, view_names

PACK = dict(type=PackSegInputs)


@pytest.fixture
def image():
    return dict(
        img=np.arange(60, dtype=np.uint8).reshape(4, 5, 3), img_path='a.png', ori_shape=(4, 5), img_shape=(4, 5),
        seg_fields=[], sample_idx=0,
    )  # fmt: skip


def test_each_view_starts_from_the_same_image(image):
    gray = dict(type=RandomGrayscale, prob=1.0)
    views = Views(
        pack=PACK, weak=[], strong=[gray], strong_again=[gray, lambda results: {**results, 'img': 0 * results['img']}]
    )
    before = image['img'].copy()
    packed = views(image)
    assert list(packed) == ['weak', 'strong', 'strong_again']
    assert torch.equal(packed['weak']['inputs'], torch.from_numpy(before.transpose(2, 0, 1)))
    assert not torch.equal(packed['strong']['inputs'], packed['weak']['inputs'])
    assert packed['strong_again']['inputs'].sum() == 0
    assert np.array_equal(image['img'], before)
    assert packed['weak']['data_samples'].img_path == 'a.png'
    assert 'gt_sem_seg' not in packed['strong']['data_samples']


@pytest.mark.parametrize('transform', [
    dict(type=RandomFlip, prob=1.0),
    lambda results: {**results, 'img': results['img'][:2]},
])  # fmt: skip
def test_a_view_that_moves_pixels_is_refused(image, transform):
    with pytest.raises(ValueError, match=r"^Views: view 'strong' moves pixels"):
        Views(pack=PACK, weak=[], strong=[transform])(image)
    packed = Views(pack=PACK, same_geometry=False, weak=[], strong=[transform])(image)
    assert packed.keys() == {'weak', 'strong'}


def test_a_flip_of_a_marked_image_is_found(image):
    image.update(gt_seg_map=np.zeros((4, 5), np.uint8), seg_fields=['gt_seg_map'])
    with pytest.raises(ValueError, match="view 'strong' moves pixels"):
        Views(pack=PACK, strong=[dict(type=RandomFlip, prob=1.0)])(image)
    packed = Views(pack=PACK, weak=[])(image)
    assert (packed['weak']['data_samples'].gt_sem_seg.data == 0).all()


def test_a_flip_is_found_in_most_tries_that_do_it(image):
    views = Views(pack=PACK, strong=[dict(type=RandomFlip, prob=0.5)])
    np.random.seed(0)
    refused = 0
    for _ in range(40):
        try:
            views(image)
        except ValueError:
            refused += 1
    assert 10 < refused < 30


def test_no_view():
    with pytest.raises(ValueError, match='Views needs at least one view'):
        Views(pack=PACK)


def test_batches_are_collated_by_view():
    labeled = [dict(inputs=index, data_samples=f'l{index}') for index in (0, 1)]
    views = [{name: dict(inputs=f'{name}{index}') for name in ('weak', 'strong')} for index in (0, 1, 2)]
    batch = collate_views([*labeled, *views])
    assert batch['labeled'] == dict(inputs=[0, 1], data_samples=['l0', 'l1'])
    assert batch['strong'] == dict(inputs=['strong0', 'strong1', 'strong2'])
    assert list(batch) == ['labeled', 'weak', 'strong']


def test_labeled_images_may_have_views_too():
    sample = {'labeled': dict(inputs=0), 'labeled_again': dict(inputs=1)}
    assert view_names(sample) == ('labeled', 'labeled_again')
    assert collate_views([sample, sample])['labeled_again'] == dict(inputs=[1, 1])


def test_representation():
    views = Views(pack=PACK, weak=[], strong=[dict(type=StrongColor)])
    assert repr(views) == 'Views(weak, strong, same_geometry=True)'


@pytest.mark.parametrize('marked', [False, True])
def test_what_is_packed_has_no_trace_of_the_check(image, monkeypatch, marked):
    if marked:
        image.update(gt_seg_map=np.zeros((4, 5), np.uint8), seg_fields=['gt_seg_map'])
    views, packed = Views(pack=PACK, weak=[]), []
    monkeypatch.setattr(views, 'pack', packed.append)
    views(image)
    assert packed[0].keys() == image.keys()
    assert packed[0]['seg_fields'] == image['seg_fields'] == (['gt_seg_map'] if marked else [])

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.registry import TRANSFORMS

from mmdmt.cls.transforms import PackDMTInputs


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    np.random.seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture
def results():
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    return {'img': pixels, 'sample_idx': 7, 'img_path': 'a/b.png', 'flip': True}


def test_human_label(results):
    packed = TRANSFORMS.build({'type': 'PackDMTInputs'})({**results, 'gt_label': 3})
    assert set(packed) == {'inputs', 'data_samples'}
    assert packed['inputs'].dtype == torch.uint8
    assert torch.equal(packed['inputs'], torch.arange(60, dtype=torch.uint8).view(4, 5, 3).permute(2, 0, 1))
    sample = packed['data_samples']
    assert sample.gt_label.tolist() == [3]
    assert sample.gt_confidence.item() == 2.0
    assert sample.human_label is True
    assert (sample.gt_confidence.dtype, sample.gt_confidence.shape) == (torch.float32, ())
    assert 'true_label' not in sample


@pytest.mark.parametrize('confidence', [0.0, 0.25, 0.999999, 1.0])
def test_confidence_of_the_teacher(results, confidence):
    sample = PackDMTInputs()({**results, 'gt_label': 0, 'gt_confidence': confidence})['data_samples']
    assert sample.gt_label.tolist() == [0]
    assert sample.gt_confidence.item() == np.float32(confidence)
    assert sample.human_label is False
    assert (sample.gt_confidence.dtype, sample.gt_confidence.shape) == (torch.float32, ())


@pytest.mark.parametrize('known', [False, True])
def test_unlabeled_image(results, known):
    sample = PackDMTInputs()({**results, **({'true_label': 4} if known else {})})['data_samples']
    assert 'gt_label' not in sample
    assert 'gt_confidence' not in sample
    assert ('true_label' in sample.metainfo) == known
    assert sample.get('true_label') == (4 if known else None)
    # To be shown and to be counted, and never to be learned: no data field.
    assert 'true_label' not in sample.keys()  # noqa: SIM118
    assert (sample.sample_idx, sample.img_path, sample.flip) == (7, 'a/b.png', True)


def test_confidence_without_a_label_is_left_out(results):
    assert 'gt_confidence' not in PackDMTInputs()({**results, 'gt_confidence': 0.5})['data_samples']


def test_own_meta_keys(results):
    packed = TRANSFORMS.build({'type': 'PackDMTInputs', 'meta_keys': ['sample_idx', 'ink']})
    sample = packed({**results, 'ink': 'blue', 'true_label': 1})['data_samples']
    assert sample.metainfo == {'sample_idx': 7, 'ink': 'blue', 'true_label': 1}

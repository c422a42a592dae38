import json

import numpy as np
import pytest
import torch

from mmdmt.analysis import label_check
from mmdmt.analysis.label_check import check_labels, evenly, resized, true_map
from mmdmt.datasets.unlabeled import UnlabeledDataset

# The truth of the two images of ``label_maps``: 255 is void.
TRUTH = [[[0, 1, 0], [1, 1, 255]], [[0, 1, 0], [1, 2, 1]]]


class Images:
    """Two images with masks, as a data set of mmsegmentation knows them."""

    metainfo = dict(classes=('sky', 'road', 'pole'))

    def __init__(self, folder, masks):
        self.folder, self.masks = folder, masks

    def full_init(self):
        pass

    def __len__(self):
        return len(self.masks)

    def get_data_info(self, idx):
        found = {} if self.masks[idx] is None else dict(seg_map_path=str(self.folder / f'{idx}.png'))
        return dict(img_path=str(idx), reduce_zero_label=False, label_map=None, **found)


@pytest.fixture
def images(tmp_path, write_image):
    """``images(masks)``: an unlabeled data set."""

    def make(masks):
        from mmengine.registry import init_default_scope

        import mmdmt.seg  # noqa: F401

        init_default_scope('mmseg')
        for idx, mask in enumerate(masks):
            if mask is not None:
                write_image(tmp_path / f'{idx}.png', np.array(mask, dtype=np.uint8))
        return UnlabeledDataset(Images(tmp_path, masks), [])

    return make


def test_figures_by_hand(tmp_path, label_maps, images):
    label_maps(tmp_path / 'phase')
    result = check_labels(tmp_path / 'phase', images(TRUTH), [], 3)
    assert result == json.loads((tmp_path / 'phase/label_check.json').read_text())
    # Class 0 has 4 labels (3 right), class 1 has 7 with a truth (5 right).
    assert result['images'] == 2
    assert result['all'] == [[4, 3], [7, 5], [0, 0]]
    # Half of them: codes from 50000 of class 0 (60000 right, 50000 wrong); of class 1 from 30000 (its 8 with the void
    # one): 30000 right, 60000 right, 50000 wrong, 40000 right.
    assert result['kept'] == [[2, 1], [4, 3], [0, 0]]
    assert sum(pair[0] for pair in result['bins']) == 11
    assert sum(pair[1] for pair in result['bins']) == 8
    # Codes up to 6000 have a confidence of at most 0.2.
    assert result['bins'][0] == [1, 1]


def test_images_without_a_mask_or_a_label_do_not_count(tmp_path, label_maps, images):
    store = label_maps(tmp_path / 'phase')
    assert check_labels(tmp_path / 'phase', images([None, TRUTH[1]]), [], 3)['images'] == 1
    store.forget(['000001_1'])
    assert check_labels(tmp_path / 'phase', images([None, TRUTH[1]]), [], 3) is None


def test_a_budget_of_pixels(tmp_path, label_maps, images, monkeypatch):
    label_maps(tmp_path / 'phase')
    monkeypatch.setattr(label_check, 'PIXELS', 5)
    assert check_labels(tmp_path / 'phase', images(TRUTH), [], 3)['images'] == 1


def test_true_map_uses_the_loader_of_the_pipeline(tmp_path, images):
    info = images([[[0, 1], [2, 255]]]).dataset.get_data_info(0)
    assert true_map(info).tolist() == [[0, 1], [2, 255]]
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', reduce_zero_label=True)]
    assert true_map(dict(info, reduce_zero_label=True), pipeline).tolist() == [[255, 0], [1, 255]]


@pytest.mark.parametrize('change', [dict(seg_map_path=None), dict(seg_map_path='nowhere.png')])
def test_no_mask(images, change):
    info = images([[[0, 1], [2, 255]]]).dataset.get_data_info(0)
    assert true_map({**info, **change}) is None


def test_a_mask_that_cannot_be_read_is_none(tmp_path, images):
    info = images([[[0, 1], [2, 255]]]).dataset.get_data_info(0)
    (tmp_path / '0.png').write_bytes(b'nothing')
    assert true_map(info) is None


def test_evenly():
    assert evenly(10, 3) == [0, 4, 9]
    assert evenly(2, 5) == [0, 1]


def test_resized_takes_the_nearest_pixel():
    assert resized(torch.tensor([[0, 255], [7, 3]]), (4, 2)).tolist() == [[0, 255], [0, 255], [7, 3], [7, 3]]

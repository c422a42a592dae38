import csv

import numpy as np
import pytest
import torch
from PIL import Image

from mmdmt.analysis.evaluation_outputs import ConfusionTable, ShownPredictions

META = dict(classes=('sky', 'road/x'), palette=[[200, 0, 0], [0, 200, 0]])
INPUT = torch.zeros(3, 2, 3, dtype=torch.uint8)


def field(rows):
    return dict(data=torch.tensor(rows)[None])


def built(kind, out):
    metric = kind(out=str(out))
    metric.dataset_meta = META
    return metric


def test_pictures_of_pixels(tmp_path):
    metric = built(ShownPredictions, tmp_path)
    truth = field([[0, 255, 1], [0, 0, 0]])
    sample = dict(img_path='/data/images/a.jpg', pred_sem_seg=field([[0, 1, 1], [0, 0, 0]]), gt_sem_seg=truth)
    metric.process(dict(inputs=[INPUT]), [sample])
    assert metric.evaluate(1) == {}
    found = np.asarray(Image.open(tmp_path / 'images/a.png'))
    assert found.shape == (2, 3 * 3 + 2 * 4, 3)
    assert found[0, 7].tolist() == [110, 0, 0]  # 0.55 of the color over black
    assert found[0, 8].tolist() == [0, 110, 0]
    assert found[0, 15].tolist() == [0, 0, 0]  # void of the truth
    assert found[0, 16].tolist() == [0, 110, 0]
    assert (found[:, 3:7] == 255).all()


def test_pictures_without_a_truth(tmp_path):
    metric = built(ShownPredictions, tmp_path)
    metric.process(dict(inputs=[INPUT]), [dict(img_path='a.jpg', pred_sem_seg=field([[0, 1, 1], [0, 0, 0]]))])
    assert Image.open(tmp_path / 'a.png').size == (3 + 4 + 3, 2)


@pytest.mark.parametrize(
    ('truth', 'name'), [(1, 'right/a_road-x.png'), (0, 'wrong/a_sky_as_road-x.png'), (None, 'a_is_road-x.png')]
)
def test_pictures_of_whole_images(tmp_path, truth, name):
    metric = built(ShownPredictions, tmp_path)
    sample = dict(img_path='b/a.png', pred_label=torch.tensor([1]))
    if truth is not None:
        sample['gt_label'] = torch.tensor([truth])
    metric.process(dict(inputs=[INPUT]), [sample])
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('*.png')] == [name]


def rows(path):
    return list(csv.reader(path.open()))


def test_confusion_of_pixels(tmp_path):
    metric = built(ConfusionTable, tmp_path / 'new/confusion.csv')
    for truth, predicted in (([[0, 0, 255]], [[0, 1, 1]]), ([[1, 1, 0]], [[1, 1, 1]])):
        metric.process({}, [dict(gt_sem_seg=field(truth), pred_sem_seg=field(predicted))])
    assert metric.evaluate(2) == {}
    assert rows(tmp_path / 'new/confusion.csv') == [
        ['true class', 'sky', 'road/x', 'recall, %'], ['sky', '1', '2', '33.33'], ['road/x', '0', '2', '100.00'],
    ]  # fmt: skip


def test_confusion_of_whole_images(tmp_path):
    metric = built(ConfusionTable, tmp_path / 'confusion.csv')
    samples = [
        dict(gt_label=torch.tensor([truth]), pred_label=torch.tensor([found])) for truth, found in ((0, 1), (0, 0))
    ]
    metric.process({}, samples)
    metric.evaluate(2)
    assert rows(tmp_path / 'confusion.csv')[1:] == [['sky', '1', '1', '50.00'], ['road/x', '0', '0', '']]


class OnGPU(torch.Tensor):
    """A tensor that NumPy cannot read, like those of a GPU."""

    def __array__(self, *_):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


def test_tensors_of_a_gpu(tmp_path):
    label = {key: torch.tensor([1]).as_subclass(OnGPU) for key in ('gt_label', 'pred_label')}
    with pytest.raises(TypeError, match='cuda'):
        np.asarray(label['gt_label'])
    metric = built(ConfusionTable, tmp_path / 'confusion.csv')
    metric.process({}, [label])
    metric.evaluate(1)
    assert rows(tmp_path / 'confusion.csv')[2] == ['road/x', '0', '1', '100.00']
    shown = built(ShownPredictions, tmp_path / 'shown')
    shown.process(dict(inputs=[INPUT]), [dict(label, img_path='a.png')])
    assert (tmp_path / 'shown/right/a_road-x.png').is_file()

import torch
from mmseg.models import SegDataPreProcessor
from mmseg.structures import SegDataSample

from mmdmt.methods.view_preprocessor import ViewPreprocessor

STOCK = dict(mean=[1.0, 2.0, 3.0], std=[2.0] * 3, bgr_to_rgb=True, size=(2, 4), pad_val=0)


def batch(value):
    return dict(inputs=[torch.full((3, 2, 2), value, dtype=torch.uint8)], data_samples=[SegDataSample()])


def test_each_view_is_normalized_and_padded_as_by_the_stock_preprocessor():
    own = ViewPreprocessor(SegDataPreProcessor(**STOCK))
    views = own({'weak': batch(5), 'strong': batch(7)}, True)
    assert list(views) == ['weak', 'strong']
    torch.testing.assert_close(views['strong']['inputs'][0, :, 0, 0], torch.tensor([3.0, 2.5, 2.0]))
    assert views['weak']['inputs'].shape == (1, 3, 2, 4)
    assert tuple(views['weak']['data_samples'][0].padding_size) == (0, 2, 0, 0)


def test_a_batch_without_views_is_that_of_a_stock_model():
    stock = SegDataPreProcessor(**STOCK)
    own, expected = ViewPreprocessor(stock)(batch(5), False), stock(batch(5), False)
    torch.testing.assert_close(own['inputs'], expected['inputs'])

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

import mmdmt.seg  # noqa: F401  (registers segmentors, heads and the loss)


class TinyBackbone(nn.Module):
    """Two feature maps: 4 channels at half of the image's size, 6 channels at a quarter."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.second = nn.Conv2d(4, 6, 3, stride=2, padding=1)

    def forward(self, inputs):
        first = self.first(inputs).tanh()
        return first, self.second(first).tanh()


@pytest.fixture(autouse=True)
def mmseg_scope():
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


@pytest.fixture
def backbone():
    return {'type': TinyBackbone}


@pytest.fixture
def fcn():
    """Make the config of a plain FCNHead, one 1x1 classifier on the second feature map, with a dynamic loss."""

    def make(**kwargs):
        config = {'type': 'FCNHead', 'in_channels': 6, 'in_index': 1, 'channels': 6, 'num_convs': 0,
                  'concat_input': False, 'dropout_ratio': 0, 'num_classes': 3, 'align_corners': False,
                  'loss_decode': {'type': 'DynamicMutualLoss', 'gamma1': 2.0, 'gamma2': 1.0}}  # fmt: skip
        return {**config, **kwargs}

    return make


@pytest.fixture
def make_sample():
    """Make an image with a random label map and, of its 3 classes, a random confidence; every fifth pixel is human."""

    def make(height=16, width=16, confidence=True, seed=0):
        generator = torch.Generator().manual_seed(seed)
        image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
        sample = SegDataSample(metainfo={'img_shape': (height, width), 'ori_shape': (height, width)})
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 3, (1, height, width), generator=generator))
        if confidence:
            data = torch.rand(1, height, width, generator=generator)
            data.view(-1)[::5] = 2.0
            sample.set_data({'gt_confidence': PixelData(data=data)})
        return {'inputs': image, 'data_samples': sample}

    return make


@pytest.fixture
def collate():
    """Put samples into a batch as mmengine's pseudo_collate does."""

    def collate(*samples):
        return {key: [sample[key] for sample in samples] for key in ('inputs', 'data_samples')}

    return collate

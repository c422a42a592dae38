from types import SimpleNamespace

import torch
from torch import nn

from mmdmt.engine import ChannelsLastHook


def test_layout_changes_and_values_do_not():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3, groups=2))
    images = torch.randn(2, 3, 8, 8)
    before, weight = model(images), model[0].weight
    assert before.is_contiguous()
    ChannelsLastHook().before_train(SimpleNamespace(model=model))
    after = model(images)
    assert model[0].weight is weight  # what the optimizer holds
    assert after.is_contiguous(memory_format=torch.channels_last) and not after.is_contiguous()
    torch.testing.assert_close(after, before)

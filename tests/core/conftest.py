import pytest
import torch

from mmdmt.core.dynamic_weight import HUMAN


@pytest.fixture(scope='module')
def batch():
    """Random batch with every case, human-labeled and ignored pixels."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(3, 4, 5, 6, generator=generator)
    label = torch.randint(0, 4, (3, 5, 6), generator=generator)
    confidence = torch.rand(3, 5, 6, generator=generator)
    confidence[0, :2] = HUMAN
    label[:, 0] = 255
    return logits, label, confidence

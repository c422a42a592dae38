import pytest
import torch
from torch import nn

from mmdmt.core.batch_norm import evaluating, frozen_batch_norm


def test_an_extra_pass_uses_the_batch_and_leaves_no_trace():
    norm = nn.BatchNorm2d(1)
    images = torch.tensor([[[[1.0, 3.0]]]])
    with frozen_batch_norm(nn.Sequential(norm)):
        result = norm(images)
    torch.testing.assert_close(result.flatten(), torch.tensor([-1.0, 1.0]))
    assert (norm.running_mean.item(), norm.running_var.item(), norm.num_batches_tracked.item()) == (0, 1, 0)
    norm(images)
    assert norm.num_batches_tracked.item() == 1


def test_modes_come_back_also_after_an_error():
    model = nn.Sequential(nn.BatchNorm1d(1), nn.Sequential(nn.Dropout()), nn.BatchNorm1d(1).eval())
    with pytest.raises(RuntimeError, match='stop'), evaluating(model), frozen_batch_norm(model):
        assert not any(module.training for module in model.modules())
        raise RuntimeError('stop')
    assert [module.training for module in model] == [True, True, False]
    assert model[0].track_running_stats

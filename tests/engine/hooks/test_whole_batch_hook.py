from types import SimpleNamespace

import pytest
from mmseg.models.losses import CrossEntropyLoss
from torch import nn

from mmdmt.engine.hooks import WholeBatchHook, whole_batch_hook
from mmdmt.losses import DynamicMutualLoss


@pytest.mark.parametrize('distributed', [True, False])
def test_losses_are_those_of_the_whole_batch_where_several_processes_train(monkeypatch, distributed):
    monkeypatch.setattr(whole_batch_hook, 'is_distributed', lambda: distributed)
    model = nn.Sequential(nn.Sequential(DynamicMutualLoss()), nn.ReLU(), DynamicMutualLoss())
    WholeBatchHook().before_train(SimpleNamespace(model=model))
    assert (model[0][0].whole_batch, model[2].whole_batch) == (distributed, distributed)
    assert not hasattr(model[1], 'whole_batch')


@pytest.mark.parametrize('distributed', [True, False])
def test_the_cross_entropy_of_mmsegmentation_is_served_where_it_divides_by_labels(monkeypatch, distributed):
    """Also in a single process, where it may fail by itself."""
    monkeypatch.setattr(whole_batch_hook, 'is_distributed', lambda: distributed)
    served = []
    monkeypatch.setattr(whole_batch_hook, 'divide_by_whole_batch', served.append)
    model = nn.Sequential(CrossEntropyLoss(avg_non_ignore=True), CrossEntropyLoss(), nn.CrossEntropyLoss())
    WholeBatchHook().before_train(SimpleNamespace(model=model))
    assert served == [model[0]]

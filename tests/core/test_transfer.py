import torch

from mmdmt.core.transfer import to_device


def test_copy_waits_for_nothing(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.Tensor, 'to', lambda self, *args, **kwargs: (asked.append((args, kwargs)), self)[1])
    values = torch.arange(3)
    assert to_device(values, torch.device('cuda', 1)) is values
    assert asked == [((torch.device('cuda', 1),), dict(non_blocking=True))]

from types import SimpleNamespace

import pytest
import torch
from mmengine.model import BaseTTAModel
from torch import nn

from mmdmt.engine.hooks import FitHook
from mmdmt.errors import UserError


class Views(BaseTTAModel):
    def merge_preds(self, data_samples_list):
        return data_samples_list


@pytest.mark.parametrize('views', [False, True])
def test_weights_that_do_not_fit(views):
    model = nn.Linear(2, 3)
    model.test_step = None
    runner = SimpleNamespace(model=Views(model) if views else model, _load_from='x.pth')
    FitHook().after_load_checkpoint(runner, dict(state_dict=model.state_dict()))
    with pytest.raises(UserError, match=r'^checkpoint x\.pth does not fit the model: 0 tensors fit, 2 are missing'):
        FitHook().after_load_checkpoint(runner, dict(state_dict={'y': torch.zeros(1)}))


def test_one_tensor_suffices_to_train_on():
    runner = SimpleNamespace(model=nn.Linear(2, 3), _load_from='x.pth')
    FitHook(whole=False).after_load_checkpoint(runner, dict(state_dict={'module.bias': torch.zeros(3)}))
    with pytest.raises(UserError, match=r'^checkpoint x\.pth: none of its 1 tensors fits'):
        FitHook(whole=False).after_load_checkpoint(runner, dict(state_dict={'bias': torch.zeros(4)}))

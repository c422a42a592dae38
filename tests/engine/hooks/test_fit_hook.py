from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MMLogger
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
    runner = SimpleNamespace(model=Views(model) if views else model, _load_from='x.pth', _test_loop={}, _val_loop=None)
    FitHook().after_load_checkpoint(runner, dict(state_dict=model.state_dict()))
    with pytest.raises(UserError, match=r'^checkpoint x\.pth does not fit the model: 0 tensors fit, 2 are missing'):
        FitHook().after_load_checkpoint(runner, dict(state_dict={'y': torch.zeros(1)}))


def test_classes_in_another_order():
    model, logger = nn.Linear(2, 3), MMLogger('fit')
    dataset = SimpleNamespace(metainfo=dict(classes=('road', 'sky')))
    loop = SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset))
    runner = SimpleNamespace(model=model, _load_from='x.pth', _test_loop=None, _val_loop=loop, logger=logger)

    def load(*classes):
        meta = dict(dataset_meta=dict(classes=classes))
        FitHook().after_load_checkpoint(runner, dict(state_dict=model.state_dict(), meta=meta))

    load('road', 'sky')
    with pytest.raises(UserError, match=r"^checkpoint x\.pth .*\['sky', 'road'\], .* order: \['road', 'sky'\]"):
        load('sky', 'road')
    messages = []
    logger.warning = messages.append
    load('Road', 'sky')  # another spelling, perhaps
    assert "classes ['Road', 'sky'], but the images to test on have ['road', 'sky']" in messages[0]
    FitHook(whole=False).after_load_checkpoint(
        runner, dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=('sky', 'road'))))
    )  # to train on, in another order, is a choice


def test_one_tensor_suffices_to_train_on():
    runner = SimpleNamespace(model=nn.Linear(2, 3), _load_from='x.pth')
    FitHook(whole=False).after_load_checkpoint(runner, dict(state_dict={'module.bias': torch.zeros(3)}))
    with pytest.raises(UserError, match=r'^checkpoint x\.pth: none of its 1 tensors fits'):
        FitHook(whole=False).after_load_checkpoint(runner, dict(state_dict={'bias': torch.zeros(4)}))

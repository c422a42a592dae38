import pytest
import torch
from torch import nn

from mmdmt.engine.checkpoint_fit import check_any, check_complete, fit
from mmdmt.errors import UserError


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


@pytest.mark.parametrize('prefix', ['', 'module.'])
@pytest.mark.parametrize('wrapped', [True, False])
def test_counts(model, prefix, wrapped):
    weights = {f'{prefix}{name}': value for name, value in model.state_dict().items()}
    weights[f'{prefix}other'] = torch.zeros(1)
    weights[f'{prefix}0.weight'] = torch.zeros(3, 4)
    del weights[f'{prefix}1.bias'], weights[f'{prefix}1.num_batches_tracked']
    found = fit(dict(state_dict=weights) if wrapped else weights, model)
    assert found.fitting == ('0.bias', '1.weight', '1.running_mean', '1.running_var')
    assert (found.missing, found.unexpected, found.reshaped) == (('1.bias',), ('other',), ('0.weight',))
    with pytest.raises(UserError) as caught:
        check_complete(weights, model, 'checkpoint x.pth')
    assert str(caught.value) == (
        "checkpoint x.pth does not fit the model: 4 tensors fit, 1 are missing ('1.bias', ...), 1 have other shapes "
        "('0.weight', ...), 1 are unexpected ('other', ...). Use a checkpoint of exactly this model"
    )


def test_whole_checkpoint_and_more(model):
    weights = {**model.state_dict(), 'auxiliary.weight': torch.zeros(1)}
    del weights['1.num_batches_tracked']
    check_complete(weights, model, 'x')


@pytest.mark.parametrize('content', [{}, dict(state_dict={}), {'0.weight': 'text', 'meta': dict(a=1)}])
def test_nothing_fits(model, content):
    for check, message in ((check_any, 'none of its [02] tensors fits'), (check_complete, '0 tensors fit')):
        with pytest.raises(UserError, match=f'^key.*{message}'):
            check(content, model, 'key')


def test_one_tensor_suffices_to_start_from(model):
    check_any({'module.0.bias': torch.zeros(3), 'x': torch.zeros(1)}, model, 'key')

import copy
import re

import pytest
import torch
from mmpretrain.models.heads import LinearClsHead
from mmseg.models.backbones import ResNet
from mmseg.models.decode_heads import FCNHead
from torch import nn

from mmdmt.methods.networks import (
    average_into,
    check_network,
    features_given,
    logits_of,
    map_features,
    no_gradient,
    predicts_pixels,
)
from tests.methods.conftest import AUXILIARY, CLASSIFIER, SEGMENTOR, STOCK


@pytest.mark.parametrize('task', STOCK)
def test_stock_models_can_be_wrapped(build, view, task):
    network = build(None, STOCK[task])
    check_network(network)
    assert predicts_pixels(network) == (task == 'pixels')
    images = view(task, 2).images
    logits = logits_of(network.eval(), images)
    assert logits.shape == ((2, 3, 12, 16) if task == 'pixels' else (2, 3))
    expected = network.head(network.extract_feat(images)) if task == 'images' else None
    if task == 'pixels':
        (first, _) = network.predict(images)
        expected = torch.stack([sample.seg_logits.data for sample in network.predict(images)])
        assert first.seg_logits.data.shape == (3, 12, 16)
    torch.testing.assert_close(logits, expected)


@pytest.mark.parametrize(
    ('model', 'reason'),
    [
        (dict(SEGMENTOR, decode_head=dict(SEGMENTOR['decode_head'], num_classes=2, out_channels=1, threshold=0.5)),
         'its head has out_channels=1 for 2 classes'),
        (dict(CLASSIFIER, head=dict(type='MultiLabelLinearClsHead', num_classes=3, in_channels=64)),
         'its head MultiLabelLinearClsHead is not built on ClsHead'),
        (dict(CLASSIFIER, head=None), 'it is neither a segmentor nor a classifier with a head'),
        (dict(CLASSIFIER, train_cfg=dict(augments=dict(type='Mixup', alpha=1.0)),
              data_preprocessor=dict(CLASSIFIER['data_preprocessor'], num_classes=3)), 'batch_augments'),
    ],
)  # fmt: skip
def test_models_that_cannot_be_wrapped(build, model, reason):
    with pytest.raises(ValueError, match=re.escape(reason)):
        check_network(build(None, model))


def test_a_module_that_is_no_model():
    with pytest.raises(ValueError, match='neither a segmentor nor a classifier'):
        check_network(nn.Linear(1, 1))


class Stages(FCNHead):
    """A head as that of K-Net: one map for each loss in training."""

    def forward(self, inputs):
        logits = super().forward(inputs)
        return [logits, logits] if self.training else logits


class Branches(ResNet):
    """A backbone as that of PIDNet: features for each loss in training."""

    def forward(self, images):
        features = super().forward(images)
        return (features, features) if self.training else features


@pytest.mark.parametrize('part', [dict(decode_head=Stages), dict(backbone=Branches)], ids=str)
def test_logits_are_those_of_a_prediction_in_training_mode(build, view, part):
    """Backbone and head predict; their layers train: batch norm uses the batch."""
    ((name, kind),) = part.items()
    network, plain = build(None, {**SEGMENTOR, name: dict(SEGMENTOR[name], type=kind)}), build(None, SEGMENTOR)
    plain.load_state_dict(network.state_dict())
    images = view('pixels', 2).images
    assert torch.equal(logits_of(network.train(), images), logits_of(plain.train(), images))
    assert all(module.training for module in network.modules())
    assert network.decode_head.convs[0].bn.num_batches_tracked == 1
    if name == 'backbone':
        message = 'head FCNHead gives no logits for this method, from features as Branches gives them in training'
        with pytest.raises(ValueError, match=message), features_given(network, network.extract_feat(images)):
            logits_of(network, images)
        assert all(module.training for module in network.modules())


def test_a_classifier_that_gives_several_outputs(build, view):
    class Pair(LinearClsHead):
        def forward(self, features):
            return (super().forward(features),) * 2 if self.training else super().forward(features)

    class Always(LinearClsHead):
        def forward(self, features):
            return [super().forward(features)] * 2

    images = view('images', 2).images
    network = build(None, dict(CLASSIFIER, head=dict(CLASSIFIER['head'], type=Pair))).train()
    assert logits_of(network, images).shape == (2, 3)
    network = build(None, dict(CLASSIFIER, head=dict(CLASSIFIER['head'], type=Always))).train()
    with pytest.raises(ValueError, match='head Always must give logits of each class, got list'):
        logits_of(network, images)


def test_heads_use_the_features_given(build, view):
    network = build(None, dict(SEGMENTOR, auxiliary_head=AUXILIARY))
    labeled, other = view('pixels', 2, True), view('pixels', 2)
    expected = copy.deepcopy(network).loss(labeled.images, labeled.samples)
    features = network.extract_feat(labeled.images)
    with features_given(network, features):
        losses = network.loss(other.images, labeled.samples)
    for key, value in expected.items():
        torch.testing.assert_close(losses[key], value)
    with pytest.raises(KeyError), features_given(network, {}):
        raise KeyError
    assert network.extract_feat.__func__ is type(network).extract_feat


def test_features_of_any_form_are_changed():
    one = torch.ones(1)
    found = map_features({'a': (one, [one]), 'b': None}, lambda values: values + 1)
    assert found == {'a': (torch.tensor([2.0]), [torch.tensor([2.0])]), 'b': None}


def test_weights_learn_after_a_pass_without_gradient_under_autocast():
    """Some versions of torch would use the casts of the first pass, without gradient, in the second one."""
    layer, images = nn.Linear(2, 1), torch.ones(1, 2)
    with torch.autocast('cpu', torch.bfloat16):
        with no_gradient():
            assert not layer(images).requires_grad
        layer(images).sum().backward()
    assert layer.weight.grad.abs().sum() > 0


def test_the_cache_of_autocast_is_cleared_also_after_an_error(monkeypatch):
    cleared = []
    monkeypatch.setattr(torch, 'clear_autocast_cache', lambda: cleared.append(torch.is_grad_enabled()))
    with no_gradient():
        pass
    with pytest.raises(KeyError), no_gradient():
        raise KeyError
    assert cleared == [True, True]


def test_average_by_hand():
    average, network = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    with torch.no_grad():
        average.weight.fill_(1.0)
        network.weight.fill_(3.0)
    network.running_mean.fill_(8.0)
    network.num_batches_tracked.fill_(5)
    average_into(average, network, 0.75, buffers=False)
    assert (average.weight.item(), average.running_mean.item(), average.num_batches_tracked.item()) == (1.5, 0.0, 0)
    average_into(average, network, 0.75, buffers=True)
    assert (average.weight.item(), average.running_mean.item(), average.num_batches_tracked.item()) == (1.875, 2.0, 5)
    average_into(average, network, 0.0, buffers=True)
    assert average.weight.item() == 3.0


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_share_of_an_average_may_be_a_tensor(dtype):
    average, network = (nn.Linear(1, 1, dtype=dtype) for _ in range(2))
    with torch.no_grad():
        average.weight.fill_(1.0)
        network.weight.fill_(3.0)
    average_into(average, network, torch.tensor(0.75), buffers=False)
    assert average.weight.item() == 1.5

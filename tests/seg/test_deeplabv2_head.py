import pytest
import torch
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS
from torch.nn import functional as F

DYNAMIC = {'type': 'DynamicMutualLoss', 'gamma1': 2.0, 'gamma2': 1.0}


def config(**kwargs):
    return {'type': 'DeepLabV2Head', 'in_channels': 6, 'in_index': 1, 'num_classes': 3, 'align_corners': False,
            'loss_decode': DYNAMIC, **kwargs}  # fmt: skip


def slow_atrous(features, weight, bias, dilation):
    """A dilated 3x3 convolution as nine shifted products."""
    height, width = features.shape[2:]
    padded = F.pad(features, [dilation] * 4)
    result = bias.view(1, -1, 1, 1).expand(len(features), -1, height, width).clone()
    for row in range(3):
        for column in range(3):
            top, left = row * dilation, column * dilation
            shifted = padded[:, :, top : top + height, left : left + width]
            result += torch.einsum('nchw,kc->nkhw', shifted, weight[:, :, row, column])
    return result


@pytest.mark.parametrize(
    ('kwargs', 'dilations'),
    [({}, (6, 12, 18, 24)), ({'dilations': (6, 12)}, (6, 12)), ({'dilations': [3]}, (3,))],
)
def test_logits_are_the_sum_over_dilations(kwargs, dilations):
    head = MODELS.build(config(**kwargs))
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    inputs = (torch.randn(2, 4, 60, 50), torch.randn(2, 6, 30, 25))
    logits = head(inputs)
    assert logits.shape == (2, 3, 30, 25)
    assert head.dilations == dilations
    assert len(head.branches) == len(dilations)
    terms = [(branch.weight, branch.bias, d) for branch, d in zip(head.branches, dilations, strict=True)]
    by_torch = sum(F.conv2d(inputs[1], w, b, padding=d, dilation=d) for w, b, d in terms)
    torch.testing.assert_close(logits, by_torch, rtol=1e-4, atol=1e-4)
    by_hand = sum(slow_atrous(inputs[1], w, b, d) for w, b, d in terms)
    torch.testing.assert_close(logits, by_hand, rtol=1e-4, atol=1e-4)


def test_initial_weights():
    head = MODELS.build(config(in_channels=64, num_classes=21))
    head.init_weights()
    for branch in head.branches:
        assert branch.weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert not branch.bias.any()
    assert not torch.equal(head.branches[0].weight, head.branches[1].weight)


def test_own_initialisation_is_kept():
    head = MODELS.build(config(init_cfg={'type': 'Constant', 'layer': 'Conv2d', 'val': 0.5}))
    head.init_weights()
    assert (head.branches[3].weight == 0.5).all()


def test_parameters_are_those_of_the_branches():
    head = MODELS.build(config())
    assert {name.rsplit('.', 1)[0] for name in head.state_dict()} == {f'branches.{index}' for index in range(4)}
    assert sum(parameter.numel() for parameter in head.parameters()) == 4 * (3 * 6 * 9 + 3)


@pytest.mark.parametrize('dilations', [(), []])
def test_no_dilation_is_refused(dilations):
    with pytest.raises(ValueError, match='dilations must not be empty'):
        MODELS.build(config(dilations=dilations))


@pytest.mark.parametrize('kwargs', [{}, {'dilations': (6, 12)}])
def test_trains_a_step_without_unused_parameters(backbone, make_sample, collate, kwargs):
    preprocessor = {'type': 'SegDataPreProcessor', 'mean': [99.0] * 3, 'std': [50.0] * 3, 'size': (32, 32)}
    model = {'type': 'DMTEncoderDecoder', 'backbone': backbone, 'decode_head': config(**kwargs), 'train_cfg': {}}
    model = MODELS.build({**model, 'data_preprocessor': preprocessor, 'test_cfg': {'mode': 'whole'}})
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    log = model.train_step(collate(make_sample(32, 32, seed=0), make_sample(32, 32, seed=1)), optimizer)
    assert log['loss'].isfinite()
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), name

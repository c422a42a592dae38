from itertools import pairwise

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from torch import nn
from torch.nn import functional as F

from mmdmt.cls.wide_resnet import PreActBlock, WideResNet

SIZES = [(10, 1), (10, 2), (16, 2), (28, 2)]


def classifier(depth=28, width=2, **kwargs):
    """A WRN with its classifier, built from the registry in mmpretrain's scope."""
    config = {
        'type': 'ImageClassifier',
        'backbone': {'type': 'WideResNet', 'depth': depth, 'width': width, **kwargs},
        'neck': {'type': 'GlobalAveragePooling'},
        'head': {'type': 'LinearClsHead', 'num_classes': 10, 'in_channels': 64 * width},
    }
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(config)


def randomise(model, seed=0):
    """Give every parameter and running statistic a random value, such that the activations stay near 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.ndim == 4:
                tensor.normal_(std=(2 / tensor[0].numel()) ** 0.5, generator=generator)
            elif name.endswith(('running_var', 'norm.weight', 'norm1.weight', 'norm2.weight')):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif tensor.is_floating_point():
                tensor.normal_(std=0.3, generator=generator)
    return model


def slow_wide_resnet(state, images, depth, training=False, drop_rate=0.0):
    """All three outputs of a WRN, from its state dict and torch.nn.functional."""

    def norm_act(x, name):
        statistics = (None, None) if training else (state[f'{name}.running_mean'], state[f'{name}.running_var'])
        return F.relu(F.batch_norm(x, *statistics, state[f'{name}.weight'], state[f'{name}.bias'], training))

    x = F.conv2d(images, state['stem.weight'], padding=1)
    outputs = []
    for group in range(3):
        for block in range((depth - 4) // 6):
            name = f'groups.{group}.{block}'
            stride = 2 if group > 0 and block == 0 else 1
            activated = norm_act(x, f'{name}.norm1')
            y = F.conv2d(activated, state[f'{name}.conv1.weight'], padding=1, stride=stride)
            y = F.dropout(norm_act(y, f'{name}.norm2'), drop_rate, training)
            y = F.conv2d(y, state[f'{name}.conv2.weight'], padding=1)
            changes = stride == 2 or len(y[0]) != len(x[0])
            assert (f'{name}.shortcut.weight' in state) == changes
            x = y + (F.conv2d(activated, state[f'{name}.shortcut.weight'], stride=stride) if changes else x)
        outputs.append(x)
    outputs[2] = norm_act(x, 'norm')
    return tuple(outputs)


def count_parameters(depth, width, num_classes=10):
    channels = [16, 16 * width, 32 * width, 64 * width]
    total = 3 * 16 * 9  # stem
    for before, after in pairwise(channels):
        total += 2 * before + 9 * before * after + 2 * after + 9 * after * after  # first block
        total += before * after if before != after else 0  # its shortcut
        total += ((depth - 4) // 6 - 1) * (2 * (2 * after + 9 * after * after))  # the others
    return total + 2 * channels[3] + (channels[3] + 1) * num_classes


def count_multiply_adds(depth, width, side=32, num_classes=10):
    channels = [16, 16 * width, 32 * width, 64 * width]
    total = side**2 * 3 * 16 * 9
    for group, (before, after) in enumerate(pairwise(channels)):
        pixels = (side // 2**group) ** 2
        shortcut = before * after if before != after else 0
        total += pixels * (9 * before * after + 9 * after * after + shortcut)
        total += pixels * ((depth - 4) // 6 - 1) * 2 * 9 * after * after
    return total + channels[3] * num_classes


def measure_multiply_adds(model, side=32):
    total = 0

    def hook(module, inputs, output):
        nonlocal total
        # each output element of a convolution or linear layer is one product with one row of its weight
        total += output[0].numel() * module.weight[0].numel()

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(hook)
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, 3, side, side))
    return total


@pytest.mark.parametrize(('depth', 'width'), SIZES)
def test_number_of_parameters(depth, width):
    model = classifier(depth, width)
    assert sum(parameter.numel() for parameter in model.parameters()) == count_parameters(depth, width)


def test_published_number_of_parameters():
    # 1.5 M for WRN-28-2
    assert count_parameters(28, 2) == 1_467_610
    assert sum(parameter.numel() for parameter in classifier().parameters()) == 1_467_610
    assert [name for name, module in classifier().named_modules() if getattr(module, 'bias', None) is not None
            and not isinstance(module, nn.BatchNorm2d)] == ['head.fc']  # fmt: skip


@pytest.mark.parametrize(('depth', 'width'), SIZES)
def test_multiply_adds(depth, width):
    assert measure_multiply_adds(classifier(depth, width)) == count_multiply_adds(depth, width)


@pytest.mark.parametrize('inplace', [True, False])
@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize(('depth', 'width'), SIZES)
def test_equals_slow_implementation(depth, width, training, inplace):
    config = {'out_indices': (0, 1, 2), 'act_cfg': {'type': 'ReLU', 'inplace': inplace}}
    model = randomise(WideResNet(depth, width, **config)).double()
    model.train(training)
    images = torch.randn(3, 3, 12, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = slow_wide_resnet(model.state_dict(), images, depth, training)
    torch.testing.assert_close(model(images), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('training', [False, True])
def test_dropout(training):
    model = randomise(WideResNet(16, 1, drop_rate=0.4)).double()
    model.train(training)
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(2)
    outputs = model(images)
    torch.manual_seed(2)
    expected = slow_wide_resnet(model.state_dict(), images, 16, training, drop_rate=0.4)
    torch.testing.assert_close(outputs, expected[2:], rtol=1e-9, atol=1e-9)
    assert sum(isinstance(module, nn.Dropout) for module in model.modules()) == 6


def test_gradients_are_those_of_the_slow_implementation():
    model = randomise(WideResNet(10, 1)).double()
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    parameters = dict(model.named_parameters())
    by_model = torch.autograd.grad(model(images)[0].square().mean(), parameters.values())
    slow = slow_wide_resnet(model.state_dict(keep_vars=True), images, 10, training=True)[2]
    torch.testing.assert_close(by_model, torch.autograd.grad(slow.square().mean(), parameters.values()))


@pytest.mark.parametrize(
    ('size', 'expected'), [((8, 8), (2, 2)), ((32, 32), (8, 8)), ((96, 64), (24, 16)), ((9, 14), (3, 4))]
)
@pytest.mark.parametrize('width', [1, 3])
def test_output_shape(size, expected, width):
    outputs = WideResNet(10, width)(torch.rand(2, 3, *size))
    assert isinstance(outputs, tuple)
    assert [output.shape for output in outputs] == [(2, 64 * width, *expected)]


def test_block_with_only_a_stride_has_a_shortcut_convolution():
    block = PreActBlock(4, 4, 2, drop_rate=0, norm_cfg={'type': 'BN'}, act_cfg={'type': 'ReLU', 'inplace': True})
    assert block(torch.rand(2, 4, 8, 8)).shape == (2, 4, 4, 4)
    assert block.shortcut.weight.shape == (4, 4, 1, 1)


def test_in_channels():
    assert WideResNet(10, 1, in_channels=1)(torch.rand(2, 1, 8, 8))[0].shape == (2, 64, 2, 2)


@pytest.mark.parametrize('out_indices', [(0,), (1,), (2,), (0, 2), (2, 0), (0, 1, 2), [1, 2]])
def test_out_indices(out_indices):
    model = randomise(WideResNet(10, 2, out_indices=out_indices))
    model.eval()
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    outputs = model(images)
    shapes = [(2, 32, 8, 8), (2, 64, 4, 4), (2, 128, 2, 2)]
    assert [output.shape for output in outputs] == [shapes[index] for index in out_indices]
    expected = slow_wide_resnet(model.state_dict(), images, 10)
    torch.testing.assert_close(outputs, tuple(expected[index] for index in out_indices), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'depth': 4}, r'depth must be 6 n \+ 4 .*; got 4'),
        ({'depth': 18}, 'depth must be .*; got 18'),
        ({'width': 0}, 'width must be >= 1; got 0'),
        ({'in_channels': 0}, 'in_channels must be >= 1; got 0'),
        ({'drop_rate': 1.0}, r'drop_rate must be in \[0, 1\); got 1.0'),
        ({'drop_rate': -0.1}, r'drop_rate must be in \[0, 1\); got -0.1'),
        ({'out_indices': ()}, r'out_indices must be one or more of \(0, 1, 2\); got \(\)'),
        ({'out_indices': (3,)}, r'out_indices must be .*; got \(3,\)'),
        ({'out_indices': (0, -1)}, r'out_indices must be .*; got \(0, -1\)'),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        WideResNet(**kwargs)


def test_other_norm_and_activation():
    norm_cfg, act_cfg = {'type': 'GN', 'num_groups': 4}, {'type': 'LeakyReLU', 'negative_slope': 0.1, 'inplace': True}
    model = WideResNet(10, 1, norm_cfg=norm_cfg, act_cfg=act_cfg)
    kinds = [type(module) for module in model.modules()]
    assert (kinds.count(nn.GroupNorm), kinds.count(nn.LeakyReLU)) == (7, 7)
    assert not {nn.BatchNorm2d, nn.ReLU} & set(kinds)
    assert (norm_cfg, act_cfg['type']) == ({'type': 'GN', 'num_groups': 4}, 'LeakyReLU')


def test_initial_weights():
    torch.manual_seed(0)
    model = WideResNet(16, 4)
    model.init_weights()
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.15), name
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert not module.bias.any()


def test_classifier_trains_every_parameter():
    model = randomise(classifier(16, 2))
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    F.cross_entropy(model(images, mode='tensor'), torch.tensor([0, 1, 2, 3])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name

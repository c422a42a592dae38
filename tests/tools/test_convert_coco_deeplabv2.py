import pickle
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from mmdmt.engine.model_checks import check_weights
from mmdmt.engine.plan import RunPlan
from tools import convert_coco_deeplabv2 as tool

CONFIGS = Path(__file__).parents[2] / 'configs/dmt'


@pytest.fixture
def source():
    """A state dict of exactly the layout; all elements of a tensor are its number, so that the file is small."""
    return {name: torch.tensor(float(number)).expand(shape) for number, (name, shape) in enumerate(tool.layout())}


@pytest.fixture
def convert(tmp_path):
    """``convert(content, *arguments)``: state dict of the converted file."""

    def run(content, *arguments):
        torch.save(content, tmp_path / 'coco.pth', _use_new_zipfile_serialization=False)  # as in 2017
        tool.main([str(tmp_path / 'coco.pth'), str(tmp_path / 'out/converted.pth'), *arguments])
        return torch.load(tmp_path / 'out/converted.pth', weights_only=True)['state_dict']

    return run


@pytest.fixture
def model():
    """``model(config)``: model A of a config, on the meta device, and its config."""

    def build(name):
        cfg = Config.fromfile(CONFIGS / name)
        own = RunPlan.of(cfg).configs['a'][None]
        with DefaultScope.overwrite_default_scope('mmseg'), torch.device('meta'):
            return MODELS.build(own['model']), own

    return build


def test_layout_by_hand():
    """ResNet-101: a stem, 33 blocks of 3 convolutions, 4 shortcuts; each with a norm of 4 tensors; 4 classifiers."""
    shapes = dict(tool.layout())
    assert len(shapes) == (1 + 33 * 3 + 4) * 5 + 4 * 2 == 528
    assert shapes['conv1.weight'] == (64, 3, 7, 7)
    assert shapes['layer1.0.conv1.weight'] == (64, 64, 1, 1)
    assert shapes['layer3.22.conv3.weight'] == (1024, 256, 1, 1)
    assert shapes['layer4.0.downsample.0.weight'] == (2048, 1024, 1, 1)
    assert shapes['layer4.0.downsample.1.running_var'] == (2048,)
    assert shapes['layer5.conv2d_list.3.weight'] == (21, 2048, 3, 3)


@pytest.mark.parametrize(
    ('config', 'classes', 'matched'), [('deeplabv2_voc_1_20.py', 21, 528), ('deeplabv2_cityscapes_1_8.py', 19, 520)]
)
def test_converted_file_is_a_checkpoint_of_the_model(source, convert, model, capsys, config, classes, matched):
    converted = convert(source, '--num-classes', str(classes))
    assert f'{matched} tensors matched' in (text := capsys.readouterr().out)
    assert ('8 of the classifiers left out (19 classes, not 21)' in text) == (classes == 19)
    built, _ = model(config)
    own = {name: value for name, value in built.state_dict().items() if not name.endswith('num_batches_tracked')}
    left_out = {name for name in own if name.startswith('decode_head')} if classes == 19 else set()
    assert own.keys() - left_out == converted.keys()
    assert all(own[name].shape == value.shape for name, value in converted.items())


def test_each_tensor_keeps_its_values(source, convert):
    converted = convert(source)
    for name, value in source.items():
        name = f'backbone.{name}'.replace('backbone.layer5.conv2d_list', 'decode_head.branches')
        assert converted[name].flatten()[0] == value.flatten()[0]


def test_converted_file_passes_the_check_of_a_run(source, convert, model, tmp_path):
    convert(source)
    built, config = model('deeplabv2_voc_1_20.py')
    check_weights({**config, 'load_from': str(tmp_path / 'out/converted.pth')}, 'dmt.models.a', '', built)


def test_batch_counters_of_later_versions_are_no_matter(source, convert):
    assert len(convert({**source, 'bn1.num_batches_tracked': torch.tensor(3)})) == 528


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda source: source.pop('layer5.conv2d_list.2.bias'),
            "lacks 1 of 528 tensors, e.g. 'layer5.conv2d_list.2.bias'",
        ),
        (lambda source: source.update({'fc.weight': torch.zeros(1)}), "has unknown 1 of 528 tensors, e.g. 'fc.weight'"),
        (
            lambda source: source.update({'conv1.weight': torch.zeros(64, 3, 3, 3)}),
            "has other shapes of 1 of 528 tensors, e.g. 'conv1.weight'",
        ),
        (
            lambda source: source.update({'conv1.weight': 3}),
            "has other shapes of 1 of 528 tensors, e.g. 'conv1.weight'",
        ),
        (lambda source: source.clear(), 'lacks 528 of 528 tensors'),
    ],
    ids=['missing', 'unknown', 'shape', 'no tensor', 'empty'],
)
def test_other_file_is_refused(source, convert, tmp_path, change, message):
    change(source)
    with pytest.raises(ValueError, match=message):
        convert(source)
    assert not (tmp_path / 'out').exists()


def test_file_that_holds_no_weights(tmp_path):
    class Payload:
        def __reduce__(self):
            return (Path.touch, (tmp_path / 'executed',))

    path = tmp_path / 'coco.pth'
    for content in (b'no checkpoint', pickle.dumps(Payload())):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r'coco\.pth cannot be read as weights .* use resnet101COCO'):
            tool.main([str(path), str(tmp_path / 'out.pth')])
    assert not (tmp_path / 'executed').exists()


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no\.pth does not exist; use resnet101COCO-41f33a49\.pth'):
        tool.main([str(tmp_path / 'no.pth'), str(tmp_path / 'out.pth')])

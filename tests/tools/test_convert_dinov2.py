from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from mmdmt.engine import DMTRunner
from mmdmt.errors import UserError
from tools import convert_dinov2 as tool

timm = pytest.importorskip('timm')

ROOT = Path(__file__).parents[2] / 'configs'
WIDTH, HEADS = 24, 2
SMALL = dict(embed_dim=WIDTH, num_heads=HEADS)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The encoder with 12 blocks, as ViT-B, but narrow."""
    monkeypatch.setitem(tool.BLOCKS, WIDTH, ('base', 12))


@pytest.fixture
def source():
    """A file of the layout of DINOv2, with random weights."""
    generator = torch.Generator().manual_seed(0)
    return {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in tool.layout(WIDTH, 12).items()}


@pytest.fixture
def weights(source, tmp_path):
    torch.save(source, tmp_path / 'dinov2.pth')
    tool.main([str(tmp_path / 'dinov2.pth'), str(tmp_path / 'pretrained/dinov2_b.pth')])
    return str(tmp_path / 'pretrained/dinov2_b.pth')


def backbone(config, checkpoint):
    config.init_cfg.checkpoint = checkpoint
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(dict(config, **SMALL))
    model.init_weights()
    return model.eval()


@pytest.mark.parametrize(('width', 'name'), [(384, 'small'), (768, 'base'), (1024, 'large')])
def test_layout_is_that_of_the_published_encoders(width, name):
    """timm names the tensors of DINOv2 as DINOv2 does; it has no mask token."""
    with torch.device('meta'):
        model = timm.create_model(f'vit_{name}_patch14_dinov2', pretrained=False)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = tool.layout(width, tool.BLOCKS[width][1])
    assert found.pop('mask_token') == (1, width)
    assert found == expected


def test_features_are_those_of_the_encoder(source, weights):
    """Of blocks 3, 6, 9 and 12, before the final norm; the file fits the backbone of the config exactly."""
    config = Config.fromfile(ROOT / '_base_/models/dinov2-b.py').model.backbone
    found = backbone(config, weights)
    assert found.state_dict().keys() == torch.load(weights)['state_dict'].keys()
    whole = timm.create_model(config.model_name, pretrained=False, dynamic_img_size=True, **SMALL).eval()
    whole.load_state_dict({name: value for name, value in source.items() if name != 'mask_token'})
    image = torch.randn(1, 3, 518, 518, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = whole.forward_intermediates(image, indices=[2, 5, 8, 11], intermediates_only=True)
        features = found(image)
    assert [tuple(feature.shape) for feature in features] == [(1, WIDTH, 37, 37)] * 4
    for feature, other in zip(features, expected, strict=True):
        assert torch.allclose(feature, other, atol=1e-5)
    for size, grid in (((28, 42), (2, 3)), ((30, 43), (3, 4))):  # any size
        assert found(torch.zeros(1, 3, *size))[0].shape[2:] == grid


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda file: file.pop('blocks.7.ls2.gamma'),
            r"lacks 1 of \d+ tensors, e\.g\. 'blocks\.7\.ls2\.gamma'; use dino",
        ),
        (lambda file: file.update(register_tokens=torch.zeros(1, 4, WIDTH)), "has unknown 1 .* 'register_tokens'"),
        (lambda file: file.update(pos_embed=torch.zeros(1, 257, WIDTH)), "has other shapes of 1 .* 'pos_embed'"),
        (lambda file: file.update(cls_token=3), "has other shapes of 1 .* 'cls_token'"),
        (lambda file: file.update(pos_embed=torch.zeros(1, 1370, 5)), 'no pos_embed of width 384, 768, .* got 5'),
        (lambda file: file.pop('pos_embed'), 'no pos_embed of width .* got None; use dinov2_vits14_pretrain'),
    ],
)
def test_other_files_are_refused(source, change, message):
    change(source)
    with pytest.raises(UserError, match=message):
        tool.convert(source)


def test_a_file_may_lack_what_is_not_used(source):
    del source['mask_token']
    assert len(tool.convert(source)) == 172


@pytest.mark.parametrize('content', [None, b'no weights', [1]])
def test_no_file_of_weights(tmp_path, content):
    path = tmp_path / 'x.pth'
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises((UserError, FileNotFoundError), match=r'x\.pth .*facebookresearch/dinov2'):
        tool.main([str(path), str(tmp_path / 'y.pth')])


@pytest.fixture
def run(folder_config, tmp_path):
    """``run(method, checkpoint)``: the config of a method, cut short, on the images of ``folder_config``."""

    def make(method, checkpoint):
        cfg = Config.fromfile(ROOT / method / 'dinov2-b_voc_original_183.py')
        student = cfg.model if method == 'dmt' else cfg.model.model
        student.backbone.update(SMALL)
        student.backbone.init_cfg.checkpoint = checkpoint
        student.decode_head.update(in_channels=[WIDTH] * 4, channels=8, num_classes=3)
        for preprocessor in (cfg.data_preprocessor, student.data_preprocessor):
            preprocessor.size = (28, 28)
        for part in ('labeled', 'unlabeled'):
            pipeline = cfg.dmt[part].pipeline
            for transform in pipeline:
                transform.update({'scale': (32, 32)} if transform.type == 'RandomResize' else {})
                transform.update({'crop_size': (28, 28)} if transform.type == 'RandomCrop' else {})
            cfg.dmt[part] = dict(folder_config.dmt[part], pipeline=pipeline)
        for name in ('val', 'test', 'train'):
            cfg[f'{name}_dataloader'].update(num_workers=0, persistent_workers=False)
        for name in ('val', 'test'):
            cfg[f'{name}_dataloader'].dataset = folder_config[f'{name}_dataloader'].dataset
        cfg.train_dataloader.batch_size = 2
        cfg.dmt.semi.update(iters=2, labeled_per_batch=2, unlabeled_per_batch=2)
        if method == 'dmt':
            cfg.dmt.supervised.iters, cfg.dmt.label_ratios = 2, (1.0,)
        cfg.dmt.rehearse, cfg.work_dir = False, str(tmp_path / 'run')
        return cfg

    return make


@pytest.mark.parametrize('method', ['unimatch', 'dmt'])
def test_configs_train(run, weights, method):
    """Images of 24 x 32 are no multiples of 14; the result is a stock model, which predicts at their size."""
    DMTRunner(run(method, weights)).train()
    work_dir = Path(run(method, weights).work_dir)
    final = Config.fromfile(work_dir / 'best.py')
    assert (final.model.type, final.model.backbone.type) == ('EncoderDecoder', 'TIMMBackbone')
    state = torch.load(work_dir / 'best.pth', weights_only=False)['state_dict']
    start = torch.load(weights)['state_dict']
    moved = {name for name in start if not torch.equal(state[f'backbone.{name}'], start[name])}
    assert moved and all((state[f'backbone.{name}'] - start[name]).abs().max() < 1e-3 for name in moved)


def test_missing_weights_are_named_with_where_to_get_them(run, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'none\.pth.* do not exist\. .*convert_dinov2\.py from dinov2_vitb14'):
        DMTRunner(run('dmt', str(tmp_path / 'none.pth'))).dry_run()

"""Stock heads and backbones of mmsegmentation take a step of DMT; also makes the tables of docs/any_model.md.

``python tests/seg/test_any_model.py`` writes the tables anew.
"""

import copy
import re
import shutil
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.structures import PixelData
from mmseg.models import decode_heads
from mmseg.models.decode_heads import Mask2FormerHead, MaskFormerHead
from mmseg.registry import MODELS
from torch import nn
from torch.nn import functional as F

from mmdmt.engine.plan import RunPlan
from mmdmt.engine.settings import DMTSettings
from mmdmt.losses.dynamic_mutual_loss import DynamicMutualLoss
from mmdmt.seg.segmentation_task import SegmentationTask

ROOT = Path(__file__).parents[2]
PAGE = ROOT / 'docs/any_model.md'
BEGIN, END = '<!-- tables of tests/seg/test_any_model.py -->', '<!-- end of the tables -->'
STATISTICS = {'disagree', 'student_wins', 'mean_weight'}

BN = dict(type='BN')
DYNAMIC = dict(type='DynamicMutualLoss', gamma1=5.0, gamma2=5.0)
HEAD = dict(channels=8, num_classes=3, dropout_ratio=0, norm_cfg=BN, align_corners=False, loss_decode=DYNAMIC)


class PlainLoss(nn.Module):
    """Cross-entropy, of a sampler's choice of pixels if there is one, over the pixels that are not ignored."""

    def __init__(self, loss_weight=1.0):
        super().__init__()
        self.loss_weight, self.loss_name = loss_weight, 'loss_dmt'

    def forward(self, logits, label, weight=1, **_):
        loss = F.cross_entropy(logits, label, ignore_index=255, reduction='none')
        return self.loss_weight * (loss * (1 if weight is None else weight)).sum() / max(1, (label != 255).sum())


class Map(NamedTuple):
    """A feature map of a backbone."""

    channels: int
    stride: int


def head(type_, channels, index, **own):
    return dict(HEAD, type=type_, in_channels=channels, in_index=index) | own


def last(type_, **own):
    """A head on the last feature map."""
    return lambda maps: head(type_, maps[-1].channels, len(maps) - 1, **own)


def several(type_, first=0, **own):
    """A head on all feature maps from the first one on."""
    return lambda maps: head(type_, [one.channels for one in maps[first:]], [*range(first, len(maps))], **own)


def fcn(channels, index, **own):
    """The usual auxiliary head; some real-time models have it as their decode head as well."""
    usual = dict(num_convs=1, concat_input=False, loss_decode=dict(DYNAMIC, loss_weight=0.4))
    return head('FCNHead', channels, index) | usual | own


def kernel_updates(maps):
    updator = dict(type='KernelUpdator', in_channels=8, feat_channels=8, out_channels=8)
    update = dict(type='KernelUpdateHead', num_classes=3, num_heads=2, num_mask_fcs=1, feedforward_channels=8,
                  in_channels=8, out_channels=8, feat_transform_cfg=dict(conv_cfg=dict(type='Conv2d'), act_cfg=None),
                  kernel_updator_cfg=updator)  # fmt: skip
    return dict(
        type='IterativeDecodeHead',
        num_stages=2,
        kernel_generate_head=last('FCNHead')(maps),
        kernel_update_head=[update, update],
    )


# Every head of these is tried on every backbone, by the feature maps that it gives.
COMMON = {
    'FCNHead': last('FCNHead', num_convs=1),
    'PSPHead': last('PSPHead', pool_scales=(1, 2)),
    'ASPPHead': last('ASPPHead', dilations=(1, 2)),
    'DepthwiseSeparableASPPHead': lambda maps: last(
        'DepthwiseSeparableASPPHead', dilations=(1, 2), c1_in_channels=maps[0].channels, c1_channels=4
    )(maps),
    'DepthwiseSeparableFCNHead': last('DepthwiseSeparableFCNHead', num_convs=1),
    'UPerHead': several('UPerHead', pool_scales=(1, 2)),
    'SegformerHead': several('SegformerHead'),
    'FPNHead': lambda maps: several('FPNHead', feature_strides=[one.stride for one in maps])(maps),
}
# The others on their usual backbone, a ResNetV1c with an auxiliary FCNHead.
ON_RESNET = {
    'ANNHead': several('ANNHead', first=2, project_channels=4, key_pool_scales=(1, 2), dropout_ratio=0.1),
    'APCHead': last('APCHead', pool_scales=(1, 2)),
    'DAHead': last('DAHead', pam_channels=4),
    'DMHead': last('DMHead', filter_sizes=(1, 3)),
    'DNLHead': last('DNLHead'),
    'EMAHead': last('EMAHead', ema_channels=8, num_bases=4, num_stages=2),
    'EncHead': several('EncHead', first=1, num_codes=4),
    'GCHead': last('GCHead'),
    'ISAHead': last('ISAHead', isa_channels=4, down_factor=(2, 2)),
    'IterativeDecodeHead': kernel_updates,
    'NLHead': last('NLHead'),
    'OCRHead': lambda maps: [fcn(maps[-2].channels, 2), last('OCRHead', ocr_channels=4)(maps)],
}


def resnet(type_='ResNetV1c', depth=18, **own):
    return dict(type=type_, depth=depth, stem_channels=8, base_channels=8, strides=(1, 2, 1, 1),
                dilations=(1, 1, 2, 4), **own)  # fmt: skip


def hr_stage(branches, block='BASIC'):
    channels = tuple(8 * 2**branch for branch in range(branches))
    return dict(num_modules=1, num_branches=branches, block=block, num_blocks=(1,) * branches, num_channels=channels)


def vit(layers=4, **own):
    return dict(type='VisionTransformer', img_size=64, patch_size=8, embed_dims=8, num_layers=layers, num_heads=2,
                out_indices=tuple(range(layers)), **own)  # fmt: skip


BACKBONES = {
    'ResNetV1c': resnet(),
    'ResNeXt': resnet('ResNeXt', depth=50, groups=2),
    'HRNet': dict(
        type='HRNet',
        extra=dict(stage1=hr_stage(1, 'BOTTLENECK'), stage2=hr_stage(2), stage3=hr_stage(3), stage4=hr_stage(4)),
    ),
    'MobileNetV2': dict(type='MobileNetV2', widen_factor=0.25),
    'MobileNetV3': dict(type='MobileNetV3', arch='small', out_indices=(0, 1, 3, 12)),
    'MixVisionTransformer': dict(type='MixVisionTransformer', embed_dims=8, num_layers=[1] * 4, num_heads=[1, 1, 2, 2]),
    'SwinTransformer': dict(type='SwinTransformer', embed_dims=8, depths=(2, 1, 1, 1), num_heads=(1, 1, 2, 2)),
    'PCPVT': dict(type='PCPVT', embed_dims=[8, 8, 16, 16], depths=[1] * 4, num_heads=[1, 1, 2, 2]),
    'MSCAN': dict(type='MSCAN', embed_dims=[8, 8, 16, 16], depths=[1] * 4, norm_cfg=BN),
    'VisionTransformer': vit(),
    'mmpretrain.ConvNeXt': dict(
        type='mmpretrain.ConvNeXt',
        arch=dict(depths=[1] * 4, channels=[8, 8, 16, 16]),
        out_indices=(0, 1, 2, 3),
        gap_before_final_norm=False,
    ),
}
# STDC's third auxiliary head learns where labels change, not classes.
BOUNDARY_HEAD = fcn(
    16,
    0,
    type='STDCHead',
    num_classes=2,
    loss_decode=[
        dict(type='CrossEntropyLoss', loss_name='loss_boundary', use_sigmoid=True),
        dict(type='DiceLoss', loss_name='loss_dice'),
    ],
)
STDC = dict(
    type='STDCContextPathNet',
    backbone_cfg=dict(type='STDCNet', stdc_type='STDCNet1', in_channels=3, channels=(8, 8, 16, 16, 16),
                      bottleneck_type='cat', norm_cfg=BN, act_cfg=dict(type='ReLU')),
    last_in_channels=(16, 16),
    out_channels=8,
    ffm_cfg=dict(in_channels=24, out_channels=8, scale_factor=4),
)  # fmt: skip
# Models whose head and backbone belong together, as their stock configs build them.
MODELS_OF_THEIR_OWN = {
    'BiSeNetV1': dict(
        backbone=dict(type='BiSeNetV1', backbone_cfg=resnet('ResNet'), context_channels=(16, 32, 64),
                      spatial_channels=(8, 8, 8, 16), out_channels=32),
        decode_head=fcn(32, 0),
        auxiliary_head=[fcn(16, 1), fcn(16, 2)],
    ),
    'BiSeNetV2': dict(
        backbone=dict(type='BiSeNetV2', detail_channels=(8, 8, 16), semantic_channels=(8, 8, 8, 16),
                      semantic_expansion_ratio=2, bga_channels=16),
        decode_head=fcn(16, 0),
        auxiliary_head=[fcn(channels, 1 + index) for index, channels in enumerate((8, 8, 8, 16))],
    ),
    'CGNet': dict(
        backbone=dict(type='CGNet', num_channels=(8, 8, 16), num_blocks=(1, 1)),
        decode_head=fcn(32, 2),
    ),
    'DDRNet': dict(
        backbone=dict(type='DDRNet', channels=8, ppm_channels=8),
        decode_head=head('DDRHead', 32, 0, loss_decode=[DYNAMIC, DYNAMIC]),
    ),
    'DPT': dict(
        backbone=vit(output_cls_token=True),
        decode_head=head('DPTHead', (8,) * 4, (0, 1, 2, 3), embed_dims=8, post_process_channels=[8] * 4,
                         readout_type='project', input_transform='multiple_select'),
    ),
    'ERFNet': dict(
        backbone=dict(type='ERFNet', enc_stage_non_bottlenecks=(1, 2),
                      enc_non_bottleneck_dilations=(2, 4), dropout_ratio=0),
        decode_head=fcn(16, 0),
    ),
    'Fast-SCNN': dict(
        backbone=dict(type='FastSCNN', downsample_dw_channels=(8, 8), global_in_channels=8,
                      global_block_channels=(8, 8, 8), global_out_channels=16, higher_in_channels=8,
                      lower_in_channels=16, fusion_out_channels=16),
        decode_head=head('DepthwiseSeparableFCNHead', 16, 2, concat_input=False),
        auxiliary_head=[fcn(16, 1), fcn(8, 0)],
    ),
    'ICNet': dict(
        backbone=dict(type='ICNet', backbone_cfg=resnet(), layer_channels=(16, 64), light_branch_middle_channels=8,
                      psp_out_channels=8, out_channels=(8, 8, 8), norm_cfg=BN, pool_scales=(1, 2)),
        neck=dict(type='ICNeck', in_channels=(8, 8, 8), out_channels=8, norm_cfg=BN),
        decode_head=fcn(8, 2),
        auxiliary_head=[fcn(8, 0), fcn(8, 1)],
    ),
    # The head averages windows of 49 x 49: its usual backbone, at stride 8, would need large images.
    'LR-ASPP': dict(
        backbone=dict(type='UNet', base_channels=4),
        decode_head=head('LRASPPHead', (16, 8, 4), (2, 3, 4), branch_channels=(4, 4),
                         input_transform='multiple_select'),
    ),
    'PIDNet': dict(
        backbone=dict(type='PIDNet', channels=8, ppm_channels=8),
        decode_head=head('PIDHead', 32, 0, act_cfg=dict(type='ReLU'),
                         loss_decode=[DYNAMIC, DYNAMIC, dict(type='BoundaryLoss'), DYNAMIC]),
    ),
    'SegNeXt': dict(
        backbone=BACKBONES['MSCAN'],
        decode_head=head('LightHamHead', [8, 16, 16], [1, 2, 3], ham_channels=8, ham_kwargs=dict(MD_R=4)),
    ),
    'Segmenter': dict(
        backbone=vit(),
        decode_head=head('SegmenterMaskTransformerHead', 8, 3, num_layers=1, num_heads=2, embed_dims=8,
                         norm_cfg=dict(type='LN')),
    ),
    'SETR-MLA': dict(
        backbone=vit(),
        neck=dict(type='MLANeck', in_channels=[8] * 4, out_channels=8, norm_cfg=BN, act_cfg=dict(type='ReLU')),
        decode_head=head('SETRMLAHead', (8,) * 4, (0, 1, 2, 3), mla_channels=2),
        auxiliary_head=[fcn(8, index) for index in range(4)],
    ),
    'SETR-PUP': dict(
        backbone=vit(),
        decode_head=head('SETRUPHead', 8, 3, num_convs=2, up_scale=2),
        auxiliary_head=[head('SETRUPHead', 8, index) for index in range(3)],
    ),
    'STDC': dict(
        backbone=STDC,
        decode_head=fcn(8, 3, sampler=dict(type='OHEMPixelSampler', thresh=0.7, min_kept=100)),
        auxiliary_head=[fcn(8, 2), fcn(8, 1), BOUNDARY_HEAD],
    ),
    'UNet': dict(
        backbone=dict(type='UNet', base_channels=4),
        decode_head=fcn(4, 4),
        auxiliary_head=[fcn(8, 3)],
    ),
}  # fmt: skip

# Losses that are none of classes at pixels: a head keeps them as they are.
OWN_LOSSES = ('.loss_se', '.loss_bd', '.loss_boundary', '.loss_dice')
PARTS_OF_HEADS = {'KernelUpdateHead', 'KernelUpdator'}
NOT_TRIED = {
    'CCHead': "needs mmcv's compiled operators",
    'PSAHead': "needs mmcv's compiled operators",
    'SideAdapterCLIPHead': 'belongs to another segmentor, `MultimodalEncoderDecoder`',
    'VPDDepthHead': 'belongs to another segmentor, `DepthEstimator`, and tells depth, not classes',
}


def without_mmdet(head):
    """A head that skips mmdetection's constructor, so that it can be refused where mmdetection is missing."""

    class Bare(head):
        align_corners, num_classes, out_channels = False, 3, 3

        def __init__(self, loss_decode):
            nn.Module.__init__(self)
            self.loss_decode = MODELS.build(loss_decode)

    Bare.__name__ = head.__name__
    return dict(type=Bare, loss_decode=DYNAMIC)


POINT_REND = [
    COMMON['FPNHead']([Map(8, 4), Map(16, 8)]),
    head('PointHead', [8], [0], num_fcs=1, norm_cfg=None),
]
REFUSED = {
    'MaskFormerHead': (
        without_mmdet(MaskFormerHead),
        'it is not built on BaseDecodeHead, its loss matches whole masks',
    ),
    'Mask2FormerHead': (
        without_mmdet(Mask2FormerHead),
        'it is not built on BaseDecodeHead, its loss matches whole masks',
    ),
    'PointHead': (POINT_REND, 'it computes its loss at sampled points, not at every pixel'),
    'any head with `out_channels=1` for two classes': (
        fcn(64, 3, num_classes=2, out_channels=1),
        'it has out_channels=1 for 2 classes; DynamicMutualLoss needs one channel per class',
    ),
}


def segmentor(parts, prefix=''):
    """Config of a segmentor: with prefix DMT ours, without it the stock one with ordinary losses."""
    config = dict(train_cfg=dict(), test_cfg=dict(mode='whole'), **copy.deepcopy(parts))
    config['data_preprocessor'] = dict(
        type='SegDataPreProcessor', mean=[127.5] * 3, std=[60.0] * 3, size=(64, 64), seg_pad_val=255
    )
    if isinstance(parts['decode_head'], list):
        config.update(type=f'{prefix}CascadeEncoderDecoder', num_stages=len(parts['decode_head']))
    else:
        config.update(type=f'{prefix}EncoderDecoder')
    return config if prefix else with_plain_losses(config)


def with_plain_losses(node):
    if isinstance(node, dict) and node.get('type') == 'DynamicMutualLoss':
        return dict(type=PlainLoss, loss_weight=node.get('loss_weight', 1.0))
    if isinstance(node, dict):
        return {key: with_plain_losses(value) for key, value in node.items()}
    return [with_plain_losses(value) for value in node] if isinstance(node, list) else node


def build(config):
    return MODELS.build(ConfigDict(config))


@cache
def feature_maps(backbone):
    with torch.no_grad():
        maps = build(BACKBONES[backbone])(torch.zeros(1, 3, 64, 64))
    return [Map(one.shape[1], 64 // one.shape[2]) for one in maps]


@pytest.fixture
def batch(make_sample, collate):
    """Two images with human and two with pseudo labels, each with pixels that are ignored."""
    samples = [make_sample(64, 64, seed=seed) for seed in range(4)]
    for index, sample in enumerate(samples):
        data = sample['data_samples']
        data.gt_sem_seg.data[:, : 8 + index] = 255
        data.gt_edge_map = PixelData(data=(data.gt_sem_seg.data == 0).long())  # PIDHead learns it
        if index < 2:
            data.gt_confidence.data.fill_(2.0)
        else:
            data.gt_confidence.data.uniform_(0.6, 0.99)
    return collate(*samples)


def step(model, batch):
    torch.manual_seed(1)  # what a forward pass draws is the same for all
    return model(**model.data_preprocessor(copy.deepcopy(batch), training=True), mode='loss')


def predict(model, batch):
    torch.manual_seed(1)
    return model.eval().test_step(copy.deepcopy(batch))[0].seg_logits.data


def auxiliary_heads(parts):
    """The auxiliary heads of a model: it may have none, one or several."""
    heads = parts.get('auxiliary_head', [])
    return heads if isinstance(heads, list) else [heads]


def check(parts, batch):
    """A step as a student: each head must weigh, and without weights be the stock one; a prediction as a teacher."""
    model, stock = build(segmentor(parts, 'DMT')), build(segmentor(parts))
    assert list(model.state_dict()) == list(stock.state_dict())
    if hasattr(model.decode_head, 'd_cls_seg'):  # PIDHead has a loss of the pixels that it takes for boundaries
        model.decode_head.d_cls_seg.bias.data.fill_(2.0)
    stock.load_state_dict(model.state_dict())
    unweighted = copy.deepcopy(model)
    for loss in unweighted.modules():
        if isinstance(loss, DynamicMutualLoss):
            loss.gamma1 = loss.gamma2 = 0.0

    losses, plain, expected = (step(one, batch) for one in (model, unweighted, stock))
    names = {name for name in expected if 'loss' in name}
    assert {name for name in losses if 'loss' in name} == names
    assert len({name.split('.')[0] for name in names if name.startswith('aux')}) == len(auxiliary_heads(parts))
    for name in names:
        torch.testing.assert_close(plain[name], expected[name])
        if name.endswith(OWN_LOSSES):
            torch.testing.assert_close(losses[name], expected[name])
        else:
            assert losses[name] < plain[name]
    assert set(losses) >= STATISTICS
    assert 0 < losses['mean_weight'] < 1

    total, _ = model.parse_losses(losses)
    total.backward()
    gradient = next(model.backbone.parameters()).grad
    assert total.isfinite()
    assert gradient.isfinite().all()
    assert gradient.any()

    image = {key: value[:1] for key, value in batch.items()}
    prediction, expected = (predict(one, image) for one in (model, stock))
    assert prediction.shape == (3, 64, 64)
    torch.testing.assert_close(prediction, expected)


@pytest.mark.parametrize('backbone', BACKBONES)
@pytest.mark.parametrize('name', COMMON)
def test_common_heads_train_on_every_backbone(batch, name, backbone):
    maps = feature_maps(backbone)
    parts = dict(backbone=BACKBONES[backbone], decode_head=COMMON[name](maps))
    check(dict(parts, auxiliary_head=fcn(maps[-2].channels, len(maps) - 2)), batch)


@pytest.mark.parametrize('name', ON_RESNET)
def test_other_heads_train(batch, name):
    maps = feature_maps('ResNetV1c')
    parts = dict(backbone=BACKBONES['ResNetV1c'], decode_head=ON_RESNET[name](maps))
    check(dict(parts, auxiliary_head=fcn(maps[-2].channels, 2)), batch)


@pytest.mark.parametrize('name', MODELS_OF_THEIR_OWN)
def test_models_of_their_own_train(batch, name):
    check(MODELS_OF_THEIR_OWN[name], batch)


@pytest.mark.parametrize('name', REFUSED)
def test_refused(name, monkeypatch):
    # An mmcv without compiled operators has none; the head only looks whether it is there.
    monkeypatch.setattr('mmseg.models.decode_heads.point_head.point_sample', lambda *_, **__: None)
    decode_head, message = REFUSED[name]
    with pytest.raises(ValueError, match='DMT cannot serve decode_head .*' + re.escape(message)):
        build(segmentor(dict(backbone=BACKBONES['ResNetV1c'], decode_head=decode_head), 'DMT'))


def test_dynamic_loss_of_boundaries_is_refused():
    parts = dict(MODELS_OF_THEIR_OWN['STDC'], auxiliary_head=[dict(BOUNDARY_HEAD, loss_decode=DYNAMIC)])
    with pytest.raises(ValueError, match='auxiliary_head STDCHead'):
        build(segmentor(parts, 'DMT'))


def test_run_knows_the_classes_of_an_iterative_head():
    decode_head = ON_RESNET['IterativeDecodeHead'](feature_maps('ResNetV1c'))
    assert SegmentationTask().num_classes(dict(decode_head=decode_head)) == 3


def heads_of(parts):
    """Types of the decode head and the auxiliary heads of a model, each once."""
    return list(dict.fromkeys(one['type'] for one in [parts['decode_head'], *auxiliary_heads(parts)]))


def test_no_stock_head_is_left_out():
    own = {name for parts in MODELS_OF_THEIR_OWN.values() for name in heads_of(parts)}
    listed = {*COMMON, *ON_RESNET, *own, *REFUSED, *NOT_TRIED, *PARTS_OF_HEADS}
    assert set(decode_heads.__all__) <= listed


def table(titles, rows):
    lines = [titles, ['---'] * len(titles), *rows]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def tables():
    return '\n\n'.join(
        [
            'Heads on all of these backbones, with an auxiliary `FCNHead`:',
            table(['', *BACKBONES], [[f'`{name}`', *['yes'] * len(BACKBONES)] for name in COMMON]),
            'On `ResNetV1c` with an auxiliary `FCNHead` (`OCRHead` in a cascade after an `FCNHead`): '
            + ', '.join(f'`{name}`' for name in ON_RESNET)
            + '.',
            'Models whose head and backbone belong together:',
            table(
                ['model', 'backbone', 'heads'],
                [
                    [name, f'`{parts["backbone"]["type"]}`', ', '.join(f'`{one}`' for one in heads_of(parts))]
                    for name, parts in MODELS_OF_THEIR_OWN.items()
                ],
            ),
            'Refused when the model is built:',
            table(
                ['head', 'the message says'],
                [[name if ' ' in name else f'`{name}`', reason] for name, (_, reason) in REFUSED.items()],
            ),
            'Not tried:',
            table(['head', 'it'], [[f'`{name}`', reason] for name, reason in NOT_TRIED.items()]),
        ]
    )


def test_page_has_these_tables():
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    now, end, after = rest.partition(END)
    assert begin and end and before and after
    assert now.strip() == tables(), f'run `python {Path(__file__).relative_to(ROOT)}`'


def test_page_joins_a_stock_model_by_six_lines(tmp_path):
    """The first example of the page, over the model file that it names."""
    example = PAGE.read_text().split('```python\n')[1].split('```')[0]
    bases, own = example.split(']\n', 1)
    assert len(own.splitlines()) <= 6
    models = Path(decode_heads.__file__).parents[2] / '.mim/configs/_base_/models'
    for name in re.findall(r"_base_/(\S+)'", bases):
        source = models / Path(name).name if name.startswith('models/') else ROOT / 'configs/_base_' / name
        (tmp_path / '_base_' / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, tmp_path / '_base_' / name)
    (tmp_path / 'dmt').mkdir()
    (tmp_path / 'dmt/mine.py').write_text(example)
    cfg = Config.fromfile(tmp_path / 'dmt/mine.py')
    settings = DMTSettings.from_config(cfg)
    assert list(settings.models) == ['a', 'b']
    for model in settings.models:
        with torch.device('meta'):
            built = build(RunPlan.of(cfg).configs[model][None]['model'])
        losses = [one.loss_weight for one in built.modules() if isinstance(one, DynamicMutualLoss)]
        assert losses == [1.0, 0.4]


def test_page_joins_a_whole_stock_config(tmp_path):
    """The second example of the page, over the config that it names."""
    example = PAGE.read_text().split('```python\n')[2].split('```')[0]
    configs = Path(decode_heads.__file__).parents[2] / '.mim/configs'
    (name,) = re.findall(r"'(\S+\.py)'", example)
    (tmp_path / 'mine.py').write_text(example.replace(name, str(configs / name.split('_')[0] / name)))
    cfg = Config.fromfile(tmp_path / 'mine.py')
    plan = RunPlan.of(cfg)
    settings, model = plan.settings, plan.configs['b']['semi']['model']
    kinds = [[step['type'] for step in part['pipeline']] for part in (settings.labeled, settings.unlabeled)]
    assert kinds[0] == kinds[1] and kinds[0][1] == 'LoadDMTAnnotations' and kinds[0][-1] == 'PackDMTInputs'
    assert [step['type'] for step in settings.label_pipeline] == ['LoadImageFromFile', 'Resize', 'PackDMTInputs']
    assert [step['type'] for step in cfg.test_dataloader.dataset.pipeline][2:] == ['LoadAnnotations', 'PackSegInputs']
    with torch.device('meta'):
        losses = [one.loss_weight for one in build(model).modules() if isinstance(one, DynamicMutualLoss)]
    assert losses == [1.0, 0.4] and plan.num_classes('a') == 150


def test_page_wraps_the_model_of_a_whole_stock_config(tmp_path):
    """The third example of the page, over the config that it names."""
    example = PAGE.read_text().split('```python\n')[3].split('```')[0]
    configs = Path(decode_heads.__file__).parents[2] / '.mim/configs'
    (name,) = re.findall(r"'(\S+\.py)'", example)
    stock = configs / name.split('_')[0] / name
    (tmp_path / 'mine.py').write_text(example.replace(name, str(stock)))
    plan = RunPlan.of(Config.fromfile(tmp_path / 'mine.py'))
    assert plan.configs['a']['supervised']['model'] == Config.fromfile(stock).model.to_dict()
    kinds = [[step['type'] for step in part['pipeline']] for part in (plan.settings.labeled, plan.settings.unlabeled)]
    assert kinds[0][1] == 'LoadDMTAnnotations'
    assert kinds[1] == ['LoadImageFromFile', 'RandomResize', 'RandomCrop', 'RandomFlip', 'Views']
    assert plan.settings.unlabeled['type'] == plan.settings.labeled['type'] == 'ADE20KDataset'
    with torch.device('meta'):
        assert build(plan.configs['a']['semi']['model']).views == ('labeled', 'weak', 'strong')


if __name__ == '__main__':
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f'{before}{BEGIN}\n\n{tables()}\n\n{END}{rest.partition(END)[2]}')

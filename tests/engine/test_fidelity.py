import pytest
from mmengine.config import Config

from mmdmt.engine import DMTRunner
from mmdmt.engine.fidelity import published_behaviours
from mmdmt.engine.plan import RunPlan
from mmdmt.labels.maps import LabelMaps


def behaviours(path, options=None):
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options or {})
    return published_behaviours(RunPlan.of(cfg))


NAIVE = dict(variant='naive', gamma1=1.0, gamma2=1.0)
CORNERS = [f'model {model}: align_corners=True: the corners of logits and image coincide' for model in 'ab']
BY_DEFAULT = {
    'deeplabv2_voc_1_20': CORNERS,
    'deeplabv2_cityscapes_1_8': [
        'ResizeLabels: validation compares with truth of the size of the tested image, not of the file', *CORNERS
    ],
    'segformer_mit-b2_voc_1_20': [],
    'wrn28-2_cifar10_4000': [
        'SmallImageRandAugment ranges=published: wide ranges and black fill, 9 % of the images become blank',
        "model a: mixup.weighting='image': a rejected label regains weight through its mixup partner",
    ],
    # Our own small config has the milder ranges.
    'wrn10-1_cifar10_400': [
        "model a: mixup.weighting='image': a rejected label regains weight through its mixup partner"
    ],
}  # fmt: skip


@pytest.mark.parametrize('name', BY_DEFAULT)
def test_what_the_figures_of_the_paper_were_made_with_is_on_by_default(root, name):
    assert behaviours(root / f'configs/dmt/{name}.py') == BY_DEFAULT[name]


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('deeplabv2_voc_1_20', {'model.decode_head.align_corners': False}),
        (
            'wrn28-2_cifar10_1000',
            {
                'dmt.labeled.pipeline.2.ranges': 'mild',
                'dmt.unlabeled.pipeline.2.ranges': 'mild',
                'model.mixup.weighting': 'term',
            },
        ),
        ('wrn10-1_digits', {'model.mixup': None}),
    ],
)
def test_they_can_be_switched_off(root, name, options):
    assert behaviours(root / f'configs/dmt/{name}.py', options) == []


def test_one_of_two_pipelines_is_enough(root):
    options = {'dmt.labeled.pipeline.2.ranges': 'mild', 'model.mixup.weighting': 'term'}
    (found,) = behaviours(root / 'configs/dmt/wrn28-2_cifar10_1000.py', options)
    assert found.startswith('SmallImageRandAugment ranges=published')


@pytest.mark.parametrize(
    ('options', 'texts'),
    [
        ({'dmt.select': 'val'}, ["dmt.select='val'"]),
        ({'dmt.label_writer.rank_stride': 16}, ['one in 16 pixels is ranked']),
        ({'dmt.label_writer.half': True}, ['half precision']),
        ({'dmt.label_amp': True}, ['dmt.label_amp=True: images are labeled in mixed precision']),
        ({'dmt.select': 'holdout'}, []),
        ({'model.decode_head.dilations': (6, 12)}, ['model a: dilations=(6, 12)', 'model b: dilations=(6, 12)']),
        ({'dmt.models.a.model.backbone.style': 'pytorch'}, ["model a: style='pytorch'"]),
        ({'dmt.models.b.model.data_preprocessor': dict(pad_val=-2.0)}, ['model b: pad_val=-2.0']),
        (
            {'model.backbone.contract_dilation': True},
            ['model a: contract_dilation=True', 'model b: contract_dilation=True'],
        ),
        (
            {'dmt.models.a.model.data_preprocessor.test_cfg': dict(size=(505, 505))},
            ['model a: images to label and to test are padded to (505, 505)'],
        ),
        ({'custom_hooks': [dict(type='EMAHook', update_buffers=False)]}, ['a: EMAHook update', 'b: EMAHook update']),
        (
            {f'dmt.{key}.pipeline.2.type': 'OwnSizeRandomResize' for key in ('labeled', 'unlabeled')},
            ["OwnSizeRandomResize: random scales are relative to each image's own size"],
        ),
        (
            {f'model.decode_head.loss_decode.{key}': value for key, value in NAIVE.items()},
            ["model a: variant='naive' with gamma 1", "model b: variant='naive' with gamma 1"],
        ),
        ({'custom_hooks': [dict(type='EMAHook', momentum=0.999)]}, ['model a: EMAHook', 'model b: EMAHook']),
    ],
)
def test_each_option_is_said(root, options, texts):
    found = behaviours(
        root / 'configs/dmt/deeplabv2_voc_1_20.py', {'model.decode_head.align_corners': False, **options}
    )
    assert len(found) == len(texts)
    assert all(text in sentence for text, sentence in zip(texts, found, strict=True))


def test_the_run_says_them_before_and_after(tiny_config, tmp_path):
    options = {
        'dmt.label_writer': dict(rank_stride=16),
        'dmt.scheme': 'self',
        'dmt.models': dict(_delete_=True, a=dict()),
        'dmt.label_ratios': (1.0,),
    }
    runner = DMTRunner(tiny_config(tmp_path, options))
    sentence = 'dmt.label_writer.rank_stride=16: one in 16 pixels is ranked'
    assert f'behavior of the published code: {sentence}' in runner.dry_run()
    runner.train()
    assert f'Behavior of the published code: {sentence}.' in (tmp_path / 'report.md').read_text()
    log = (tmp_path / 'dmt.log').read_text()
    assert log.index(sentence) < log.index('Phase 1 of 3')
    # 6 scenes of 64 x 64 pixels, of which a sixteenth is counted.
    assert int(LabelMaps(tmp_path / '01_label_a').histogram().counts.sum()) == 6 * 64 * 64 // 16

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


@pytest.mark.parametrize(
    'name', ['deeplabv2_voc_1_20', 'deeplabv2_cityscapes_1_8', 'segformer_mit-b2_voc_1_20', 'wrn28-2_cifar10_4000']
)
def test_none_is_on_by_default(root, name):
    assert behaviours(root / f'configs/dmt/{name}.py') == []


@pytest.mark.parametrize(
    ('options', 'texts'),
    [
        ({'dmt.select': 'val'}, ["dmt.select='val'"]),
        ({'dmt.label_writer.rank_stride': 16}, ['one in 16 pixels is ranked']),
        ({'dmt.label_writer.half': True}, ['half precision']),
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
        ({'custom_hooks': [dict(type='EMAHook', momentum=0.999)]}, ['model a: EMAHook', 'model b: EMAHook']),
    ],
)
def test_each_option_is_said(root, options, texts):
    found = behaviours(root / 'configs/dmt/deeplabv2_voc_1_20.py', options)
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

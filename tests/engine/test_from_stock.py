"""Any stock config joins a run: what is stock in it becomes what DMT needs."""

import copy
from pathlib import Path

import pytest
from mmengine.config import Config
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS

from mmdmt.cls.classification_task import ClassificationTask
from mmdmt.engine import DMTRunner
from mmdmt.engine.from_stock import with_data, with_dynamic_loss
from mmdmt.engine.plan import RunPlan
from mmdmt.errors import UserError
from mmdmt.seg.segmentation_task import SegmentationTask
from mmdmt.seg.segmentor import DMTEncoderDecoder

SEG, CLS = SegmentationTask(), ClassificationTask()
DYNAMIC = dict(type='DynamicMutualLoss')


def seg(**heads):
    return dict(type='EncoderDecoder', backbone=dict(type='ResNet'), **heads)


@pytest.mark.parametrize(
    ('loss', 'expected'),
    [
        (dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4), dict(DYNAMIC, loss_weight=0.4)),
        (dict(type='mmseg.CrossEntropyLoss', avg_non_ignore=True), DYNAMIC),
        (dict(type=MODELS.get('CrossEntropyLoss'), class_weight=[1, 2]), dict(DYNAMIC, class_weight=[1, 2])),
        (dict(type='CrossEntropyLoss', loss_name='loss_own'), dict(DYNAMIC, loss_name='loss_own')),
        # An option on the command line sets it beside those of the cross-entropy.
        (dict(type='CrossEntropyLoss', gamma1=0.0), dict(DYNAMIC, gamma1=0.0)),
        (dict(type='CrossEntropyLoss', use_sigmoid=True), None),
        (dict(type='CrossEntropyLoss', use_mask=True), None),
        (dict(type='mmdet.CrossEntropyLoss'), None),
        (dict(type='DiceLoss'), None),
        (dict(type='DynamicMutualLoss', gamma1=1.0), None),
        ([dict(type='CrossEntropyLoss'), dict(type='DiceLoss')], [DYNAMIC, dict(type='DiceLoss')]),
    ],
    ids=str,
)
def test_losses(loss, expected):
    head = dict(type='FCNHead', ignore_index=7, sampler=dict(type='OHEMPixelSampler', thresh=0.7, min_kept=9))
    model = seg(decode_head=dict(head, loss_decode=loss))
    before = copy.deepcopy(model)
    found = with_dynamic_loss(model, {}, SEG)
    assert found['type'] == 'DMTEncoderDecoder' and found['backbone'] == model['backbone']
    assert found['decode_head'] == dict(head, loss_decode=loss if expected is None else expected)
    assert model == before


def test_arguments_of_all_losses():
    heads = dict(
        decode_head=dict(type='FCNHead', loss_decode=dict(type='CrossEntropyLoss', gamma2=1.0)),
        auxiliary_head=[dict(type='FCNHead', loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4))],
    )
    found = with_dynamic_loss(seg(**heads), dict(gamma1=3.0, gamma2=3.0), SEG)
    assert found['decode_head']['loss_decode'] == dict(DYNAMIC, gamma1=3.0, gamma2=1.0)
    assert found['auxiliary_head'][0]['loss_decode'] == dict(DYNAMIC, gamma1=3.0, gamma2=3.0, loss_weight=0.4)


def test_heads():
    """One without a loss has a cross-entropy; nested heads have their own; boundaries are no classes."""
    stdc = dict(type='STDCHead', loss_decode=[dict(type='CrossEntropyLoss'), dict(type='DiceLoss')])
    masks = dict(type='Mask2FormerHead', loss_cls=dict(type='mmdet.CrossEntropyLoss'))
    nested = dict(type='IterativeDecodeHead', kernel_generate_head=dict(loss_decode=dict(type='CrossEntropyLoss')))
    heads = [dict(type='FCNHead', channels=4), nested, stdc, masks]
    found = with_dynamic_loss(seg(auxiliary_head=heads), {}, SEG)['auxiliary_head']
    assert found[0] == dict(type='FCNHead', channels=4, loss_decode=DYNAMIC)
    assert found[1]['kernel_generate_head'] == dict(loss_decode=DYNAMIC)
    assert found[2:] == [stdc, masks]


def test_types():
    assert with_dynamic_loss(dict(type=EncoderDecoder), {}, SEG)['type'] == 'DMTEncoderDecoder'
    cascade = dict(type='mmseg.CascadeEncoderDecoder', decode_head=[dict(type='FCNHead'), dict(type='OCRHead')])
    found = with_dynamic_loss(cascade, {}, SEG)
    assert found['type'] == 'DMTCascadeEncoderDecoder'
    assert [head['loss_decode'] for head in found['decode_head']] == [DYNAMIC, DYNAMIC]
    for other in ('DMTEncoderDecoder', 'mmpretrain.EncoderDecoder', 'FixMatch', DMTEncoderDecoder):
        assert with_dynamic_loss(dict(type=other), {}, SEG) is None


def test_classifier_has_the_gamma_and_the_ramp_of_the_paper():
    model = dict(type='ImageClassifier', head=dict(type='LinearClsHead', num_classes=3))
    found = with_dynamic_loss(model, dict(gamma1=2.0), CLS)
    loss = dict(DYNAMIC, gamma1=2.0, gamma2=4.0, ramp=True)
    assert found == dict(type='DMTImageClassifier', head=dict(type='LinearClsHead', num_classes=3, loss=loss))


LOAD, LABELS, CROP, PACK = (
    dict(type=name) for name in ('LoadImageFromFile', 'LoadAnnotations', 'RandomCrop', 'PackSegInputs')
)
DMT_LABELS, DMT_PACK = dict(type='LoadDMTAnnotations'), dict(type='PackDMTInputs')
TEST = [LOAD, dict(type='Resize'), dict(LABELS, reduce_zero_label=True), PACK]
STOCK = dict(
    train_dataloader=dict(dataset=dict(type='ADE20KDataset', pipeline=[LOAD, LABELS, CROP, PACK])),
    test_dataloader=dict(dataset=dict(type='ADE20KDataset', pipeline=TEST)),
)


def test_data_of_a_stock_config():
    before = copy.deepcopy(STOCK)
    found = with_data(dict(split=dict(ratio=8)), STOCK, SEG)
    pool = dict(type='ADE20KDataset', pipeline=[LOAD, DMT_LABELS, CROP, DMT_PACK])
    assert found['labeled'] == found['unlabeled'] == pool
    assert found['label_pipeline'] == [LOAD, dict(type='Resize'), DMT_PACK]
    assert before == STOCK
    own = with_data(dict(split=dict(ratio=8), unlabeled=dict(pipeline=[LOAD])), STOCK, SEG)['unlabeled']
    assert own == dict(type='ADE20KDataset', pipeline=[LOAD])
    for whole in (dict(type='Own'), [], None):  # left to the settings
        assert with_data(dict(split=dict(ratio=8), unlabeled=whole), STOCK, SEG)['unlabeled'] == whole
    assert 'unlabeled' not in with_data({}, STOCK, SEG)  # which images, without a split?
    assert with_data(dict(label_pipeline=[]), STOCK, SEG)['label_pipeline'] == []  # what is set stays


@pytest.mark.parametrize(
    'loader', [None, 3, [], {}, dict(dataset=None), dict(dataset=[]), dict(dataset=dict(pipeline=[3]))]
)
def test_nothing_to_take_data_from(loader):
    """The settings then say what is missing."""
    cfg = dict(test_dataloader=loader, train_dataloader=None if loader and 'dataset' in repr(loader) else loader)
    assert with_data({}, cfg, SEG) == dict(label_pipeline=[])


def test_transforms_of_every_override():
    part = dict(dataset=dict(type='Own', pipeline=[dict(type='mmseg.LoadAnnotations', x=1), PACK]))
    views = dict(type='Views', pack=PACK)
    dmt = dict(
        labeled=part,
        unlabeled=dict(pipeline=[LOAD, views]),
        semi=dict(unlabeled=part),
        models=dict(a=dict(label_pipeline=[PACK], supervised=dict(labeled=part), val_dataloader=part)),
    )
    found = with_data(dmt, {}, SEG)
    expected = dict(dataset=dict(type='Own', pipeline=[dict(DMT_LABELS, x=1), DMT_PACK]))
    assert found['labeled'] == found['semi']['unlabeled'] == found['models']['a']['supervised']['labeled'] == expected
    assert found['unlabeled'] == dmt['unlabeled']
    assert found['models']['a']['label_pipeline'] == [DMT_PACK]
    assert found['models']['a']['val_dataloader'] == part


def stock(cfg):
    """The config of ``tiny_config`` without what DMT adds to model and data."""
    cfg.model.type, cfg.model.decode_head.loss_decode = 'EncoderDecoder', dict(type='CrossEntropyLoss')
    cfg.train_dataloader.dataset.pipeline = cfg.train_pipeline
    for key in ('labeled', 'unlabeled'):
        del cfg.dmt[key]
    cfg.dmt.split = dict(ratio=2)
    return cfg


def test_a_stock_config_trains(folder_config, folder_data):
    """Human labels and pseudo labels reach the dynamic loss, and the result is a stock model."""
    cfg = folder_config
    cfg.train_dataloader.dataset = dict(cfg.dmt.labeled)
    cfg = stock(cfg)
    cfg.dmt.models = dict(a=dict())  # `update` would merge
    cfg.dmt.update(scheme='self', loss=dict(gamma1=1.0, gamma2=2.0), label_ratios=(1.0,))
    del cfg.dmt['label_pipeline']
    assert cfg.train_pipeline[1].type == 'LoadAnnotations' and cfg.test_pipeline[1].type == 'LoadAnnotations'
    loss = RunPlan.of(cfg).configs['a']['semi']['model']['decode_head']['loss_decode']
    assert loss == dict(DYNAMIC, gamma1=1.0, gamma2=2.0)
    DMTRunner(cfg).train()
    final = Config.fromfile(Path(cfg.work_dir) / 'best.py')
    assert (final.model.type, final.model.decode_head.loss_decode.type) == ('EncoderDecoder', 'CrossEntropyLoss')


@pytest.mark.parametrize('scheme', ['mutual', 'single'])
def test_arguments_of_a_loss_that_no_model_gets(tiny_config, tmp_path, scheme):
    cfg = tiny_config(tmp_path, {'dmt.loss': dict(gamma1=0.0), 'dmt.scheme': scheme})
    if scheme == 'single':
        cfg.dmt.label_ratios, cfg.dmt.models = (), dict(a=dict())
    with pytest.raises(UserError, match=r'^dmt\.loss.* has no effect'):
        RunPlan.of(cfg)

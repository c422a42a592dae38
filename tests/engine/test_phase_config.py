import copy
import zlib
from pathlib import Path

import pytest

from mmdmt.engine import phase_config
from mmdmt.engine.phase_config import merge, phase_seed, pop_pipeline, without_pretrained
from mmdmt.engine.settings import DMTSettings

FOLDER = Path('phase')


@pytest.fixture
def derive(tiny_config):
    """``derive(phase name, options)``: the config of a phase, having looked that the input config stays as it is."""

    def make(name, options=None):
        cfg = tiny_config(Path('unused'), options)
        before = copy.deepcopy(cfg.to_dict())
        settings = DMTSettings.from_config(cfg)
        phase = {phase.name: phase for phase in settings.phases()}[name]
        data = phase_config.model_data(settings, phase.model, {})
        if phase.kind == 'label':
            result = phase_config.label_config(
                cfg, settings, phase, data, work_dir=FOLDER / name, label_dir=FOLDER, teacher=Path('teacher.pth')
            )
        else:
            baseline = phase.labels is None
            result = phase_config.train_config(
                cfg, settings, phase, data, work_dir=FOLDER / name, max_iters=40,
                label_dir=None if baseline else Path('labels'), init=None if baseline else Path('init.pth'),
            )  # fmt: skip
        result.model.type = 'changed'  # a shared part of the input would show
        result.default_hooks.logger.interval = 'changed'
        assert cfg.to_dict() == before
        return result

    return make


@pytest.mark.parametrize(
    ('overrides', 'expected'),
    [
        ({'x': 2}, {'x': 2, 'd': {'p': 1, 'q': [1, 2]}}),
        ({'d': {'p': 5}}, {'x': 1, 'd': {'p': 5, 'q': [1, 2]}}),
        ({'d': {'q': [3]}}, {'x': 1, 'd': {'p': 1, 'q': [3]}}),
        ({'d': {'_delete_': True, 'r': 0}}, {'x': 1, 'd': {'r': 0}}),
        ({'x': {'new': {'deep': 1}}}, {'x': {'new': {'deep': 1}}, 'd': {'p': 1, 'q': [1, 2]}}),
        ({'d': None}, {'x': 1, 'd': None}),
    ],
)
def test_merge(overrides, expected):
    base = {'x': 1, 'd': {'p': 1, 'q': [1, 2]}}
    before = copy.deepcopy((base, overrides))
    result = merge(base, overrides)
    assert result == expected
    if isinstance(result['d'], dict):
        result['d'].setdefault('q', []).append('changed')
    assert (base, overrides) == before


def test_pop_pipeline_of_a_concatenation():
    config = dict(type='ConcatDataset', datasets=[dict(type='A', pipeline=[1]), dict(type='B', pipeline=[2])])
    assert pop_pipeline(config) == [1]
    assert config['datasets'] == [dict(type='A'), dict(type='B')]


def test_model_without_type_is_merged(derive):
    cfg = derive('00_train_b', {'dmt.models.b.model': dict(decode_head=dict(channels=16))})
    assert (cfg.model.decode_head.channels, cfg.model.decode_head.in_channels) == (16, 128)
    assert derive('00_train_a', {'dmt.models.b.model': dict(decode_head=dict(channels=16))}).model.decode_head == (
        derive('00_train_a').model.decode_head
    )


def test_model_with_type_replaces(tiny_config):
    cfg = tiny_config(Path('unused'), {'dmt.models.b.model': dict(type='Other', decode_head=dict(num_classes=2))})
    settings = DMTSettings.from_config(cfg)
    found = phase_config.model_config(cfg, settings, 'b')
    assert found['model'] == dict(type='Other', decode_head=dict(num_classes=2))
    assert 'dmt' not in found
    assert 'runner_type' not in found


def test_overrides_of_kind_and_model_reach_only_their_phases(derive):
    options = {
        'dmt.models.a.optim_wrapper.optimizer.lr': 1.0,
        'dmt.semi.optim_wrapper.optimizer.momentum': 0.5,
        'dmt.supervised.train_dataloader.batch_size': 3,
    }
    found = {name: derive(name, options) for name in ('00_train_a', '00_train_b', '01_train_a', '01_train_b')}
    optimizers = {name: cfg.optim_wrapper.optimizer for name, cfg in found.items()}
    assert {name: (item.lr, item.momentum) for name, item in optimizers.items()} == {
        '00_train_a': (1.0, 0.9),
        '00_train_b': (0.05, 0.9),
        '01_train_a': (1.0, 0.5),
        '01_train_b': (0.05, 0.5),
    }
    assert found['00_train_a'].train_dataloader.batch_size == 3
    assert found['01_train_a'].train_dataloader.batch_size == 1 + 2


def test_seeds_differ_between_phases_and_are_stable(derive):
    names = ['00_train_a', '00_train_b', '01_label_a', '01_train_b', '01_label_b', '01_train_a', '02_train_a']
    seeds = {name: derive(name).randomness.seed for name in names}
    assert len(set(seeds.values())) == len(names)
    assert seeds['00_train_a'] == phase_seed(0, '00_train_a') == zlib.crc32(b'0 00_train_a') % 2**31
    assert derive('00_train_a', {'randomness.seed': 1}).randomness.seed != seeds['00_train_a']
    assert derive('00_train_a', {'dmt.models.a.randomness.seed': 1}).randomness.seed != seeds['00_train_a']
    assert all(0 <= seed < 2**31 for seed in seeds.values())


@pytest.mark.parametrize(
    ('name', 'load_from'), [('00_train_a', None), ('01_train_a', 'init.pth'), ('01_label_a', 'teacher.pth')]
)
def test_only_the_first_phases_load_initial_weights(derive, name, load_from):
    init = dict(type='Pretrained', checkpoint='backbone.pth')
    cfg = derive(name, {'model.pretrained': 'x.pth', 'model.backbone.init_cfg': init})
    assert cfg.load_from == load_from
    assert cfg.resume is False
    if name == '00_train_a':
        assert (cfg.model.pretrained, cfg.model.backbone.init_cfg) == ('x.pth', init)
    else:
        assert (cfg.model.pretrained, cfg.model.backbone.init_cfg) == (None, None)


def test_without_pretrained_keeps_other_initialisation():
    kaiming = dict(type='Kaiming', layer='Conv2d')
    model = dict(init_cfg=[kaiming, dict(type='Pretrained', checkpoint='x')], heads=[dict(pretrained='y', k=1)])
    assert without_pretrained(model) == dict(init_cfg=[kaiming, None], heads=[dict(pretrained=None, k=1)])


def test_length_of_a_phase(derive):
    warmup = dict(type='LinearLR', start_factor=0.1, begin=0, end=10, by_epoch=False)
    poly = dict(type='PolyLR', begin=10, end=20000, by_epoch=False)
    cfg = derive('00_train_a', {'param_scheduler': [warmup, poly]})
    assert [scheduler.end for scheduler in cfg.param_scheduler] == [10, 40]
    assert cfg.train_cfg == dict(type='IterBasedTrainLoop', max_iters=40, val_interval=40)
    checkpoint = cfg.default_hooks.checkpoint
    assert (checkpoint.interval, checkpoint.max_keep_ckpts, checkpoint.save_last) == (10, 2, True)
    assert 'save_best' not in checkpoint


def test_selecting_by_validation_validates_more_often(derive):
    cfg = derive('01_train_a', {'dmt.select': 'val'})
    assert cfg.train_cfg.val_interval == 4
    assert cfg.default_hooks.checkpoint.save_best == 'mIoU'


def test_data_of_train_phases(derive):
    baseline, semi = derive('00_train_a'), derive('01_train_a')
    assert baseline.train_dataloader.dataset.subset == 'labeled'
    assert baseline.train_dataloader.sampler.type == 'InfiniteSampler'
    labeled, pseudo = semi.train_dataloader.dataset.datasets
    assert (labeled.subset, pseudo.dataset.subset) == ('labeled', 'unlabeled')
    assert (pseudo.type, pseudo.label_dir, pseudo.label_ratio) == ('PseudoLabelDataset', 'labels', 0.5)
    assert 'pipeline' not in pseudo.dataset
    assert semi.train_dataloader.sampler == dict(type='LabeledUnlabeledSampler', labeled=1, unlabeled=2)
    for cfg in (baseline, semi):
        assert (cfg.test_dataloader, cfg.test_cfg, cfg.test_evaluator) == (None, None, None)


def test_label_phase_has_no_training_parts(derive):
    cfg = derive('02_label_b')
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'val_dataloader', 'val_cfg'):
        assert cfg[key] is None, key
    assert set(cfg.default_hooks) == {'timer', 'logger'}
    assert cfg.test_evaluator == dict(type='PseudoLabelWriter', label_dir=str(FOLDER), label_ratio=1.0, num_classes=11)
    assert [step.type for step in cfg.test_dataloader.dataset.pipeline] == ['LoadImageFromFile', 'PackDMTInputs']
    assert cfg.env_cfg.cudnn_benchmark is False
    assert derive('02_train_b').env_cfg.cudnn_benchmark is True


def test_labels_are_made_without_the_class_weights_where_the_loss_says_so(derive):
    weights = [float(number) for number in range(1, 12)]
    loss = {'model.decode_head.loss_decode.class_weight': weights}
    assert 'class_weight' not in derive('02_label_b', loss).test_evaluator
    loss['model.decode_head.loss_decode.prior_corrected'] = True
    assert derive('02_label_b', loss).test_evaluator.class_weight == weights


def test_names_of_a_phase(derive):
    cfgs = [derive('00_train_a'), derive('01_label_a')]
    assert [cfg.experiment_name for cfg in cfgs] == ['00_train_a', '01_label_a']
    assert cfgs[0].visualizer.name != cfgs[1].visualizer.name
    assert not any({'dmt', 'runner_type'} & set(cfg.keys()) for cfg in cfgs)


def test_final_config_holds_only_stock_types(tiny_config):
    auxiliary = dict(type='FCNHead', num_classes=11, loss_decode=[dict(type='DynamicMutualLoss', loss_weight=0.4)])
    cfg = tiny_config(
        Path('unused'), {'model.auxiliary_head': [auxiliary], 'dmt.models.b.load_from': 'x.pth', 'model.cut_mix': {}}
    )
    before = copy.deepcopy(cfg.to_dict())
    final = phase_config.final_config(cfg, DMTSettings.from_config(cfg), 'b')
    assert final.model.type == 'EncoderDecoder'
    assert final.model.decode_head.loss_decode == dict(type='CrossEntropyLoss', avg_non_ignore=True)
    assert final.model.auxiliary_head[0].loss_decode == [
        dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=0.4)
    ]
    assert 'cut_mix' not in final.model
    assert 'DMT' not in repr(final.model)
    assert 'Dynamic' not in repr(final.model)
    assert not {'dmt', 'runner_type', 'load_from', 'work_dir', 'resume'} & set(final.keys())
    assert cfg.to_dict() == before

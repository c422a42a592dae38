import copy
import zlib
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

from mmdmt.engine.phase_config import OWN_HOOKS, ModelData, final_config, phase_seed, resolve
from mmdmt.engine.plan import RunPlan
from mmdmt.errors import UserError
from mmdmt.installation import installed_family
from mmdmt.losses import DynamicMutualLoss

WORK_DIR = Path('work_dir')


@pytest.fixture
def derive(tiny_config):
    """``derive(phase name, options)``: the config of a phase, having looked that the input config stays as it is."""

    def make(name, options=None):
        cfg = tiny_config(Path('unused'), {'dmt.supervised.iters': 40, 'dmt.semi.iters': 40, **(options or {})})
        before = copy.deepcopy(cfg.to_dict())
        plan = RunPlan.of(cfg)
        configs = copy.deepcopy(plan.configs)
        result = resolved(plan, name).config
        result.model.type = 'changed'  # a shared part of the input would show
        result.default_hooks.logger.interval = 'changed'
        assert (cfg.to_dict(), plan.configs) == (before, configs)
        return result

    return make


def resolved(plan, name):
    phase = {phase.name: phase for phase in plan.phases}[name]
    labeled, unlabeled = copy.deepcopy((plan.settings.labeled, plan.settings.unlabeled))
    pipeline = unlabeled.pop('pipeline')
    own = copy.deepcopy(labeled)
    data = ModelData(
        {'supervised': labeled, 'semi': own},
        unlabeled,
        pipeline,
        plan.settings.label_pipeline,
        num_labeled={'supervised': 4, 'semi': 5},
        num_unlabeled=6,
    )
    return resolve(plan, phase, data, WORK_DIR)


def test_model_without_type_is_merged(derive):
    cfg = derive('00_train_b', {'dmt.models.b.model': dict(decode_head=dict(channels=16))})
    assert (cfg.model.decode_head.channels, cfg.model.decode_head.in_channels) == (16, 128)
    assert derive('00_train_a', {'dmt.models.b.model': dict(decode_head=dict(channels=16))}).model.decode_head == (
        derive('00_train_a').model.decode_head
    )


def test_overrides_of_stage_and_model_reach_only_their_phases(derive):
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


@pytest.mark.parametrize('kind', ['label', 'train'])
def test_each_phase_has_its_own_model(derive, kind):
    options = {'dmt.models.a.env_cfg.x': 3, 'dmt.models.b.env_cfg.x': 5}
    found = {name: derive(f'02_{kind}_{name}', options) for name in 'ab'}
    assert {name: cfg.model.backbone.base_channels for name, cfg in found.items()} == {'a': 16, 'b': 8}
    assert {name: cfg.model.data_preprocessor.bgr_to_rgb for name, cfg in found.items()} == {'a': True, 'b': False}
    assert {name: cfg.env_cfg.x for name, cfg in found.items()} == {'a': 3, 'b': 5}


def test_seeds_differ_between_phases_and_are_stable(derive):
    names = ['00_train_a', '00_train_b', '01_label_a', '01_train_b', '01_label_b', '01_train_a', '02_train_a']
    seeds = {name: derive(name).randomness.seed for name in names}
    assert len(set(seeds.values())) == len(names)
    assert seeds['00_train_a'] == phase_seed(0, '00_train_a') == zlib.crc32(b'0 00_train_a') % 2**31
    assert derive('00_train_a', {'randomness.seed': 1}).randomness.seed != seeds['00_train_a']
    assert derive('00_train_a', {'dmt.models.a.randomness.seed': 1}).randomness.seed != seeds['00_train_a']
    assert all(0 <= seed < 2**31 for seed in seeds.values())
    assert derive('00_train_a', {'randomness': dict(_delete_=True)}).randomness.seed == seeds['00_train_a']


@pytest.mark.parametrize(
    ('name', 'load_from'), [('00_train_a', 'given.pth'), ('01_train_a', None), ('01_label_a', None)]
)
def test_only_the_first_phases_load_initial_weights(derive, name, load_from):
    init = dict(type='Pretrained', checkpoint='backbone.pth')
    cfg = derive(name, {'load_from': 'given.pth', 'model.pretrained': 'x.pth', 'model.backbone.init_cfg': init})
    assert cfg.load_from == load_from
    assert cfg.resume is False
    if name == '00_train_a':
        assert (cfg.model.pretrained, cfg.model.backbone.init_cfg) == ('x.pth', init)
    else:
        assert (cfg.model.pretrained, cfg.model.backbone.init_cfg) == (None, None)


def test_length_of_a_phase(derive):
    warmup = dict(type='LinearLR', start_factor=0.1, begin=0, end=10, by_epoch=False)
    poly = dict(type='PolyLR', begin=10, end=20000, by_epoch=False)
    cfg = derive('00_train_a', {'param_scheduler': [warmup, poly]})
    assert [scheduler.end for scheduler in cfg.param_scheduler] == [10, 40]
    assert cfg.train_cfg == dict(type='PhaseLoop', max_iters=40, val_interval=40)
    checkpoint = cfg.default_hooks.checkpoint
    assert checkpoint.type == 'PhaseCheckpointHook'
    assert (checkpoint.interval, checkpoint.max_keep_ckpts, checkpoint.save_last) == (10, 2, True)
    assert 'save_best' not in checkpoint


def test_selecting_by_validation_validates_more_often(derive):
    cfg = derive('01_train_a', {'dmt.select': 'val'})
    assert cfg.train_cfg.val_interval == 4
    assert cfg.default_hooks.checkpoint.save_best == 'mIoU'


def test_data_of_train_phases(derive):
    baseline, semi = derive('00_train_a'), derive('01_train_a')
    assert baseline.train_dataloader.dataset.dataset.subset == 'labeled'
    assert baseline.train_dataloader.sampler.type == 'PassSampler'
    labeled, pseudo = semi.train_dataloader.dataset.dataset.datasets
    assert (labeled.subset, pseudo.dataset.subset) == ('labeled', 'unlabeled')
    assert (pseudo.type, pseudo.label_dir, pseudo.label_ratio) == ('PseudoLabelDataset', 'work_dir/01_label_b', 0.5)
    assert 'pipeline' not in pseudo.dataset
    seed = semi.randomness.seed
    assert semi.train_dataloader.sampler == dict(type='LabeledUnlabeledSampler', labeled=1, unlabeled=2, seed=seed)
    for cfg in (baseline, semi):
        assert cfg.train_dataloader.dataset.type == 'SeededDataset'
        seeds = {cfg.train_dataloader.dataset.seed, cfg.train_dataloader.sampler.seed, cfg.randomness.seed}
        assert seeds == {hook.seed for hook in cfg.custom_hooks if hook.type == 'StepSeedHook'}
        assert (cfg.test_dataloader, cfg.test_cfg, cfg.test_evaluator) == (None, None, None)


def test_label_phase_has_no_training_parts(derive):
    cfg = derive('02_label_b')
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'val_dataloader', 'val_cfg'):
        assert cfg[key] is None, key
    assert set(cfg.default_hooks) == {'timer', 'logger'}
    expected = dict(
        label_dir='work_dir/02_label_b', label_ratio=1.0, num_classes=11, teacher='model b of phase 01_train_b'
    )
    assert cfg.test_evaluator == dict(type='PseudoLabelWriter', **expected)
    assert [step.type for step in cfg.test_dataloader.dataset.pipeline] == ['LoadImageFromFile', 'PackDMTInputs']
    assert cfg.env_cfg.cudnn_benchmark is False
    assert derive('02_train_b').env_cfg.cudnn_benchmark is True


def test_label_writer_options_reach_the_writer(derive):
    writer = derive('02_label_b', {'dmt.label_writer': dict(rank_stride=16, half=True)}).test_evaluator
    assert (writer.type, writer.rank_stride, writer.half) == ('PseudoLabelWriter', 16, True)


def test_hooks_of_the_phases(derive):
    cfg = derive('01_train_a', {'custom_hooks': [dict(type='EMAHook')], 'dmt.select': 'val'})
    own = 'StepSeedHook ProgressHook WholeBatchHook FiniteLossHook WeightedHook ResumeHook DMTHook StopHook'.split()
    assert [hook.type for hook in cfg.custom_hooks] == ['EMAHook', *own]
    assert 'WeightedHook' not in [hook.type for hook in derive('00_train_a').custom_hooks]
    assert set(own) == OWN_HOOKS
    expected = dict(phase='01_train_a', model='a', metric='mIoU', select='val', figures=dict(labeled=5))
    assert cfg.custom_hooks[-2] == dict(type='DMTHook', **expected)
    hook, stop = derive('01_label_a', {'custom_hooks': [dict(type='EMAHook')]}).custom_hooks
    assert hook == dict(type='DMTHook', phase='01_label_a', model='a', metric='mIoU', select='last', figures={})
    assert stop == dict(type='StopHook')


FIVE_EPOCHS = dict(_delete_=True, epochs=5)


@pytest.mark.parametrize(
    ('name', 'options', 'steps'),
    [
        ('00_train_a', {'dmt.supervised': FIVE_EPOCHS}, 10),  # 5 passes over 4 images by 2
        ('00_train_a', {'dmt.supervised': {**FIVE_EPOCHS, 'train_dataloader': dict(batch_size=4)}}, 5),  # its own batch
        ('01_train_a', {'dmt.semi.iters': None, 'dmt.semi.epochs': 3}, 9),  # 3 passes over 6 images by 2
        ('01_train_a', {'dmt.semi.iters': None, 'dmt.semi.epochs': 1.5}, 5),  # 4.5, rounded up
        ('01_train_a', {'dmt.semi.iters': None, 'dmt.semi.epochs': 0.1}, 1),  # at least one
        ('01_train_a', {'dmt.semi.iters': 7, 'dmt.semi.epochs': 3}, 7),  # iters take precedence
        ('01_label_a', {}, 0),
    ],
)
def test_steps_by_hand(tiny_config, name, options, steps):
    found = resolved(RunPlan.of(tiny_config(Path('unused'), options)), name)
    assert found.steps == steps
    if steps:
        assert found.config.train_cfg.max_iters == found.config.param_scheduler[0].end == steps


def test_names_of_a_phase(derive):
    cfgs = [derive('00_train_a'), derive('01_label_a')]
    assert [cfg.experiment_name for cfg in cfgs] == ['00_train_a', '01_label_a']
    assert cfgs[0].visualizer.name != cfgs[1].visualizer.name
    assert not any({'dmt', 'runner_type'} & set(cfg.keys()) for cfg in cfgs)


def test_final_config_holds_only_stock_types(tiny_config):
    auxiliary = dict(type='FCNHead', num_classes=11, loss_decode=[dict(type='DynamicMutualLoss', loss_weight=0.4)])
    cfg = tiny_config(Path('unused'), {'model.auxiliary_head': [auxiliary], 'dmt.models.b.load_from': 'x.pth'})
    before = copy.deepcopy(cfg.to_dict())
    plan = RunPlan.of(cfg)
    configs = copy.deepcopy(plan.configs)
    final = final_config(plan, 'b')
    assert final.model.type == 'EncoderDecoder'
    assert final.model.decode_head.loss_decode == dict(type='CrossEntropyLoss', avg_non_ignore=True)
    assert final.model.auxiliary_head[0].loss_decode == [
        dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=0.4)
    ]
    assert 'DMT' not in repr(final.model)
    assert 'Dynamic' not in repr(final.model)
    assert not {'dmt', 'runner_type', 'load_from', 'work_dir', 'resume'} & set(final.keys())
    assert (cfg.to_dict(), plan.configs) == (before, configs)


def test_final_loss_with_class_weights_can_train(tiny_config):
    """mmsegmentation's cross-entropy fails with class weights and avg_non_ignore; without it, it divides as ours.

    With class weights, that of 1.2.2 fails for each ignored pixel.
    """
    weights = [1.0, 3.0, *[1.0] * 9]
    cfg = tiny_config(Path('unused'), {'model.decode_head.loss_decode.class_weight': weights})
    config = final_config(RunPlan.of(cfg), 'a').model.decode_head.loss_decode.to_dict()
    assert config == dict(type='CrossEntropyLoss', class_weight=weights)
    logits, label = torch.randn(1, 11, 2, 2), torch.tensor([[[0, 1], [1, 255 if installed_family() == 'onedl' else 2]]])
    own = DynamicMutualLoss(class_weight=weights)(logits, label, ignore_index=255)
    with DefaultScope.overwrite_default_scope('mmseg'):
        stock = MODELS.build(config)(logits, label, ignore_index=255)
    assert stock.item() == pytest.approx(own.item(), rel=1e-6)


EPOCHS = {
    'train_cfg': dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=4, val_interval=1),
    'param_scheduler': [dict(type='MultiStepLR', milestones=[1, 2], gamma=0.1, by_epoch=True)],
    'default_hooks.checkpoint': dict(type='CheckpointHook', interval=1, by_epoch=True),
    'dmt.supervised.iters': None,
    'dmt.supervised.epochs': 4,
    'dmt.semi.iters': None,
    'dmt.semi.epochs': 4,
}


def test_epochs_of_each_phase(derive):
    """4 labeled images in batches of 2, 6 unlabeled ones in batches of 2: 2 and 3 steps an epoch."""
    for name, epoch in (('00_train_a', 2), ('01_train_a', 3)):
        cfg = derive(name, EPOCHS)
        assert cfg.train_cfg == dict(type='PhaseLoop', max_iters=4 * epoch, val_interval=epoch)
        (scheduler,) = cfg.param_scheduler
        assert (scheduler.milestones, scheduler.by_epoch) == ([epoch, 2 * epoch], False)
        assert cfg.default_hooks.checkpoint.interval == epoch
        assert cfg.default_hooks.checkpoint.by_epoch is False


def test_least_number_of_steps(derive):
    options = {**EPOCHS, 'dmt.semi.min_iters': 50}
    assert derive('01_train_a', options).train_cfg.max_iters == 50
    assert derive('01_train_a', {**options, 'dmt.semi.epochs': 40}).train_cfg.max_iters == 120
    assert derive('00_train_a', options).train_cfg.max_iters == 8


def test_best_checkpoint_of_the_user_is_kept(derive):
    options = {'default_hooks.checkpoint': dict(type='CheckpointHook', save_best='mAcc')}
    (hook,) = [hook for hook in derive('00_train_a', options).custom_hooks if hook.type == 'DMTHook']
    assert hook.keep_best is True
    assert derive('00_train_a', options).default_hooks.checkpoint.save_best == 'mAcc'


@pytest.mark.parametrize('seed', ['abc', [1], 1.5, True])
def test_seed_that_is_no_whole_number(seed):
    with pytest.raises(UserError, match=r'randomness\.seed=.* must be a whole number'):
        phase_seed(seed, '00_train_a')
    assert phase_seed(None, '00_train_a') == phase_seed(0, '00_train_a')

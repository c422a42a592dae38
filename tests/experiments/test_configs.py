"""The configs that an experiment derives; the control is trained as well."""

from pathlib import Path

import pytest
import torch

from mmdmt.engine import DMTRunner
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.settings import DMTSettings
from mmdmt.errors import UserError
from mmdmt.experiments.configs import ControlLength, _check_families, check_plan, dmt_config, job_config
from mmdmt.experiments.jobs import Job
from mmdmt.experiments.plan import ExperimentPlan
from tests.conftest import TINY

BASELINES = {'a': Path('a.pth'), 'b': Path('b.pth')}
METHODS = dict(
    dmt=dict(loss=dict(gamma1=3.0, gamma2=1.0)),
    cbst=dict(loss=dict(gamma1=0.0, gamma2=0.0), self_training=('a', 'b')),
    one=dict(options={'dmt.label_ratios': (1.0,)}),
)


@pytest.fixture
def read(tmp_path, root):
    """Read a plan for a DMT config of the repository, with keys of the plan and of its data set changed."""

    def read(config='configs/dmt/fcn_digits.py', data_set=None, **changes):
        own = dict(config=str(root / config), **(data_set or {}))
        plan = dict(seeds=(5, 6), data_sets=dict(data=own), methods=METHODS, **changes)
        path = tmp_path / 'plan.py'
        path.write_text('\n'.join(f'{key} = {value!r}' for key, value in plan.items()))
        return ExperimentPlan.from_file(path)

    return read


def job(role, models, method=None, seed=6):
    return Job('data', seed, role, method or role, models)


def losses(cfg):
    settings = DMTSettings.from_config(cfg)
    return {
        model: RunPlan.of(cfg).configs[model][None]['model']['decode_head']['loss_decode'] for model in settings.models
    }


def test_baseline_is_the_config_of_the_data_set_with_the_seed(read):
    cfg = job_config(read(data_set=dict(options=TINY)), job('baseline', ('a',)), {}, {})
    assert cfg.randomness.seed == 6
    assert (cfg.dmt.supervised.iters, cfg.dmt.get('split')) == (4, None)
    assert list(cfg.dmt.models) == ['a', 'b']
    assert cfg.val_evaluator.type == cfg.test_evaluator.type == 'ClassIoUMetric'


def test_arguments_of_the_loss_that_a_stock_model_gets(read):
    cfg = job_config(
        read('configs/dmt/segformer_mit-b0_image_masks.py'), job('method', ('a', 'b'), 'dmt'), BASELINES, {}
    )
    assert cfg.model.type == 'EncoderDecoder'
    assert list(losses(cfg).values()) == [dict(type='DynamicMutualLoss', gamma1=3.0, gamma2=1.0)] * 2
    assert 'gamma1' not in cfg.model.decode_head.loss_decode


def test_lists_of_several_families_are_no_columns_of_one_table():
    own, part = ('', '3 of 5 images'), ('DMT', '530 of 10,582: family "DMT"')
    _check_families(dict(a=part, b=own, c=part))
    message = '^data_sets: lists of several families .*; b: 92 of 10,582: family "original"$'
    with pytest.raises(UserError, match=message):
        _check_families(dict(a=part, c=own, b=('original', '92 of 10,582: family "original"')))


def test_method(read):
    cfg = job_config(read(), job('method', ('a', 'b'), 'dmt'), BASELINES, {})
    assert cfg.dmt.models.to_dict() == {
        'a': {'supervised_checkpoint': 'a.pth'}, 'b': {'supervised_checkpoint': 'b.pth'}
    }  # fmt: skip
    assert {model: (loss['gamma1'], loss['gamma2']) for model, loss in losses(cfg).items()} == dict.fromkeys(
        'ab', (3.0, 1.0)
    )
    cfg = job_config(read(), job('method', ('a', 'b'), 'one'), BASELINES, {})
    assert DMTSettings.from_config(cfg).label_ratios == (1.0,)


def test_each_of_two_architectures_teaches_itself_with_the_loss_of_the_method(read):
    plan = read('configs/dmt/deeplabv2_segformer_voc_1_20.py')
    for model, head in (('a', 'DeepLabV2Head'), ('b', 'SegformerHead')):
        cfg = job_config(plan, job('method', (model,), 'cbst'), BASELINES, {})
        settings = DMTSettings.from_config(cfg)
        assert (settings.scheme, list(settings.models)) == ('self', [model])
        assert settings.models[model]['supervised_checkpoint'] == f'{model}.pth'
        assert RunPlan.of(cfg).configs[model][None]['model']['decode_head']['type'] == head
        assert (losses(cfg)[model]['gamma1'], losses(cfg)[model]['gamma2']) == (0.0, 0.0)


def test_seed_keys(read):
    """By default the split changes with the seed, where there is one."""
    plan = read('configs/dmt/deeplabv2_voc_1_20.py')
    cfg = dmt_config(plan, 'data', 2)
    assert (cfg.randomness.seed, cfg.dmt.split.split_id, cfg.dmt.split.ratio) == (2, 2, 20)
    cfg = dmt_config(read('configs/dmt/deeplabv2_voc_1_20.py', seed_keys=('randomness.seed',)), 'data', 2)
    assert (cfg.randomness.seed, cfg.dmt.split.get('split_id')) == (2, None)


def test_data_root_moves_oracle_and_dmt(read, root):
    oracle = str(root / 'configs/baselines/oracle_fcn_camvid.py')
    own = dict(data_root='elsewhere', oracle=oracle)
    plan = read('configs/dmt/fcn_camvid_1_8.py', own, seed_keys=('dmt.split.seed',))
    cfg = job_config(plan, job('oracle', ('-',)), {}, {})
    assert cfg.train_dataloader.dataset.data_root == cfg.test_dataloader.dataset.data_root == 'elsewhere'
    assert 'split' not in cfg.dmt  # seeds of DMT have no part in an Oracle
    assert dmt_config(plan, 'data', 0).dmt.unlabeled.data_root == 'elsewhere'


def test_control_of_two_architectures_trains_as_the_phases_with_labels(read):
    """Model, optimizer and schedule of each are those of its phases with pseudo labels."""
    plan = read('configs/dmt/deeplabv2_segformer_voc_1_20.py')
    dmt = dmt_config(plan, 'data', 6)
    for model in 'ab':
        length = {model: ControlLength(steps=70, batch_size=6)}
        cfg = job_config(plan, job('control', (model,)), BASELINES, length)
        settings = DMTSettings.from_config(cfg)
        (phase,) = (phase for phase in settings.phases() if phase.name == f'00_train_{model}')
        assert settings.stage(phase)['iters'] == 70
        control = RunPlan.of(cfg).configs[model]['supervised']
        semi = RunPlan.of(dmt).configs[model]['semi']
        assert (control['load_from'], control['train_dataloader']['batch_size']) == (f'{model}.pth', 6)
        for key in ('model', 'optim_wrapper', 'param_scheduler'):
            assert control[key] == semi[key]


def test_control_of_a_split_uses_all_labeled_images(read):
    """The baselines of a difference-maximised split have fewer; phases with labels, and so the control, have all."""
    plan = read('configs/dmt/deeplabv2_voc_1_50.py')
    assert dmt_config(plan, 'data', 6).dmt.split.difference_maximised == 0.8
    cfg = job_config(plan, job('control', ('b',)), BASELINES, {'b': ControlLength(steps=70, batch_size=6)})
    assert (cfg.dmt.split.ratio, cfg.dmt.split.difference_maximised) == (50, None)
    assert DMTSettings.from_config(cfg).split.difference_maximised is None


def test_control_of_a_method_trains_with_its_settings(read):
    """Hooks, batch sizes and length are those of the method's phases with labels, not of the data set's config."""
    hooks = [dict(type='EMAHook', momentum=0.01)]
    plan = read(data_set=dict(options=TINY))
    own = {'dmt.semi.custom_hooks': hooks, 'dmt.semi.unlabeled_per_batch': 3, 'dmt.semi.iters': 5}
    plan.methods['labels'] = plan.methods['one'].model_copy(
        update=dict(options={**own, 'dmt.label_ratios': (0.2, 0.4, 0.6)}, labels_only=True)
    )
    experiment = check_plan(plan)
    assert experiment.control['data']['labels'] == dict.fromkeys('ab', ControlLength(steps=15, batch_size=4))
    assert experiment.control['data']['control'] == dict.fromkeys('ab', ControlLength(steps=8, batch_size=3))
    (found,) = (item for item in experiment.jobs if item.name == 'data/seed6/labels_b')
    assert found.role == 'control'
    cfg = job_config(plan, found, BASELINES, experiment.control['data']['labels'])
    settings = DMTSettings.from_config(cfg)
    (phase,) = (phase for phase in settings.phases() if phase.name == '00_train_b')
    control = RunPlan.of(cfg).configs['b']['supervised']
    assert settings.stage(phase)['iters'] == 15
    assert (control['custom_hooks'], control['load_from']) == (hooks, 'b.pth')
    assert control['train_dataloader']['batch_size'] == 4


def test_control_goes_on_from_the_baseline(read, tmp_path):
    """2 iterations of 4 steps, 3 images each: 8 steps of 3 labeled images that start at the baseline's weights."""
    frozen = {'dmt.semi.optim_wrapper.optimizer.lr': 0.0}  # it ends at the weights it starts from
    plan = read(data_set=dict(options={**TINY, **frozen}), control=True)
    experiment = check_plan(plan)
    assert experiment.control == {'data': {'control': dict.fromkeys('ab', ControlLength(steps=8, batch_size=3))}}
    checkpoints = {}
    for kind in ('baseline', 'control'):
        cfg = job_config(
            plan, job(kind, ('b',)), {'b': checkpoints.get('baseline')}, experiment.control['data']['control']
        )
        cfg.work_dir = str(tmp_path / kind)
        runner = DMTRunner(cfg)
        runner.train(phase='00_train_b')
        checkpoints[kind] = runner.manifest.checkpoint('00_train_b')
    assert checkpoints['control'].name == 'iter_8.pth'
    trained = runner.manifest.record('00_train_b')
    assert trained['steps'] == 8
    first, second = (torch.load(path, weights_only=False)['state_dict'] for path in checkpoints.values())
    statistics = ('running_mean', 'running_var', 'num_batches_tracked')
    assert all(torch.equal(first[name], second[name]) for name in first if not name.endswith(statistics))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(loss=dict(gama1=1.0)), r'methods.new on data: .*gama1'),
        (dict(loss=dict(gamma1=-1.0)), 'methods.new on data: dmt.models.a: the model cannot be built: .*gamma1'),
        (dict(options={'dmt.labelratios': (1.0,)}), 'methods.new on data: dmt has unknown key.* labelratios'),
        (
            dict(options={'dmt.semi.optim_wrapper': dict(optimizer=dict(lr='1e-3'))}),
            r"methods.new on data: phase 01_tr.*\.lr='1e-3'",
        ),
        (
            dict(options={'dmt.semi.param_scheduler': [dict(type='StepLR', step_size=10**6, by_epoch=False)]}),
            'methods.new on data: phase 01_',
        ),
        (dict(options={'dmt.split': dict(ratio=1)}), 'methods.new on data: dmt.split.ratio=1.0 leaves none'),
        (dict(self_training=('a', 'c')), r"methods.new on data: 'c' is not a model of .*: \['a', 'b'\]"),
    ],
)
def test_mistakes_in_methods_are_found_before_anything_runs(read, changes, message):
    plan = read(data_set=dict(options=TINY))
    plan.methods['new'] = type(plan.methods['dmt'])(**{**vars(plan.methods['one']), **changes})
    with pytest.raises(ValueError, match=message):
        check_plan(plan)


@pytest.mark.parametrize(
    ('data_set', 'message'),
    [
        (dict(frequent_classes=('digit 1', 'cow')), "data_sets.data.frequent_classes: 'cow' is not one of background"),
        (dict(oracle={'c': 'configs/baselines/oracle_fcn_digits.py'}), "data_sets.data.oracle: 'c' is not a model of"),
        (dict(oracle='configs/dmt/fcn_digits.py'), 'data_sets.data.oracle: .* must be an ordinary config'),
    ],
)
def test_mistakes_in_data_sets_are_found_before_anything_runs(read, root, monkeypatch, data_set, message):
    monkeypatch.chdir(root)
    with pytest.raises(ValueError, match=message):
        check_plan(read(data_set={**data_set, 'options': TINY}))


def test_the_plan_of_the_digits(root, monkeypatch):
    """2,400 / 14 steps for each of 5 iterations: 860 steps of the control."""
    monkeypatch.chdir(root)
    experiment = check_plan(ExperimentPlan.from_file('configs/experiments/digits.py'))
    assert [job.name.removeprefix('digits/seed0/') for job in experiment.jobs[:9]] == [
        'baseline_a', 'baseline_b', 'cbst_a', 'cbst_b', 'mutual', 'dmt', 'control_a', 'control_b', 'oracle'
    ]  # fmt: skip
    assert len(experiment.jobs) == 27
    assert experiment.control['digits']['control']['b'] == ControlLength(steps=860, batch_size=16)
    assert (experiment.metrics, experiment.tested) == ({'digits': 'mIoU'}, set())


def test_the_plan_of_all_methods(root, monkeypatch):
    """Methods start from the shared baseline of model A, and take as many steps and images as the control."""
    monkeypatch.chdir(root)
    experiment = check_plan(ExperimentPlan.from_file('configs/experiments/methods_digits.py'))
    names = [job.name.removeprefix('digits/seed0/') for job in experiment.jobs if job.seed == 0]
    assert names[:5] == ['baseline_a', 'baseline_b', 'dmt', 'cbst_a', 'online-st_a']
    assert names[-3:] == ['control_a', 'control_b', 'oracle']
    steps, batch = experiment.control['digits']['control']['a'].steps, 16
    for name, method in experiment.plan.methods.items():
        if method.config is not None:
            cfg = job_config(experiment.plan, Job('digits', 0, 'method', name, ('a',)), BASELINES, {})
            assert cfg.dmt.models.a.supervised_checkpoint == 'a.pth'
            assert cfg.dmt.semi.iters == steps
            assert cfg.dmt.semi.labeled_per_batch + cfg.dmt.semi.unlabeled_per_batch == batch


def test_a_method_without_baseline_takes_none(read, root):
    """Only methods that begin with labels alone are given the baseline."""
    plan = read('configs/dmt/wrn10-1_digits.py')
    method = plan.methods['one'].model_copy(
        update=dict(config=str(root / 'configs/fixmatch/digits_cls.py'), loss={}, options={})
    )
    plan = plan.model_copy(update=dict(methods={'fixmatch': method}))
    cfg = job_config(plan, job('method', ('a',), 'fixmatch'), BASELINES, {})
    assert cfg.dmt.models.a.to_dict() == {}
    assert [phase.name for phase in DMTSettings.from_config(cfg).phases()] == ['01_train_a']


def test_labels_are_compared_only_where_there_are_masks(read):
    bare = {**TINY, 'dmt.unlabeled.data_prefix': dict(_delete_=True)}
    plan = read(data_set=dict(options=bare, label_images=3))
    with pytest.raises(FileNotFoundError, match=r'data_sets.data.label_images: unlabeled image .* has no mask'):
        check_plan(plan)
    check_plan(read(data_set=dict(options=TINY, label_images=3)))


def test_labels_of_images_are_not_compared(read):
    plan = read('configs/dmt/wrn10-1_digits.py', data_set=dict(label_images=3))
    with pytest.raises(ValueError, match=r"data_sets.data.label_images: default_scope='mmpretrain': the analysis"):
        check_plan(plan.model_copy(update=dict(methods={'dmt': plan.methods['one']})))


def test_baselines_of_another_kind(read):
    """Their first phase has the options of the method; a method that starts from them has their checkpoint."""
    halves = dict(options={'dmt.supervised.iters': 3}, supervised_only=('a', 'b'))
    plan = read(data_set=dict(options=TINY), control=False)
    for name, method in dict(halves=halves, new=dict(baseline='halves')).items():
        plan.methods[name] = type(plan.methods['dmt']).read(method, name)
    experiment = check_plan(plan)
    (found,) = (item for item in experiment.jobs if item.name == 'data/seed6/halves_b')
    assert (found.role, found.needs) == ('baseline', ())
    assert job_config(plan, found, {}, {}).dmt.supervised.iters == 3
    (found,) = (item for item in experiment.jobs if item.name == 'data/seed6/new')
    assert found.needs == ('data/seed6/halves_a', 'data/seed6/halves_b')
    plan.methods['halves'] = type(plan.methods['dmt']).read(dict(halves, supervised_only=('a',)), 'halves')
    with pytest.raises(ValueError, match=r"methods.new.baseline on data: 'halves' trains \['a'\], not 'b'"):
        check_plan(plan)

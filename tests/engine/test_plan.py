import copy

import pytest

from mmdmt.engine.plan import RunPlan
from mmdmt.errors import UserError

STAGES = (None, 'supervised', 'semi')
RATE = 'optim_wrapper.optimizer.lr'


@pytest.fixture
def plan(tiny_config, tmp_path):
    """``plan(options)``: the plan of a config, having looked that the config stays as it is."""

    def make(options=None):
        cfg = tiny_config(tmp_path / 'run', options)
        before = copy.deepcopy(cfg.to_dict())
        found = RunPlan.of(cfg)
        assert cfg.to_dict() == before
        assert found.cfg is cfg
        return found

    return make


def rates(plan, model):
    """Learning rate without a stage, of the supervised and of the semi one."""
    return [plan.configs[model][stage]['optim_wrapper']['optimizer']['lr'] for stage in STAGES]


def test_later_layers_count(plan):
    """The config, its stage, its model, the stage of its model."""
    layers = {
        f'dmt.semi.{RATE}': 1.0,
        f'dmt.models.a.{RATE}': 2.0,
        f'dmt.models.a.semi.{RATE}': 3.0,
        f'dmt.models.b.supervised.{RATE}': 4.0,
    }
    found = plan(layers)
    assert (rates(found, 'a'), rates(found, 'b')) == ([2.0, 2.0, 3.0], [0.05, 4.0, 1.0])
    del layers[f'dmt.models.a.semi.{RATE}']
    assert rates(plan(layers), 'a') == [2.0, 2.0, 2.0]
    del layers[f'dmt.models.a.{RATE}']
    assert rates(plan(layers), 'a') == [0.05, 0.05, 1.0]


def test_what_a_layer_does_not_say_stays(plan):
    found = plan({'dmt.semi.optim_wrapper.optimizer.momentum': 0.5, 'dmt.models.b.load_from': 'x.pth'}).configs
    assert found['a']['semi']['optim_wrapper']['optimizer'] == dict(type='SGD', lr=0.05, momentum=0.5)
    assert [found['b'][stage]['load_from'] for stage in STAGES] == ['x.pth'] * 3
    assert [found['a'][stage]['load_from'] for stage in STAGES] == [None] * 3


def test_model_without_type_is_merged_and_one_with_type_replaces(plan):
    found = plan(
        {
            'dmt.models.a.model': dict(decode_head=dict(channels=16)),
            'dmt.models.b.model': dict(type='Other', decode_head=dict(num_classes=2)),
            'dmt.models.b.semi.model': dict(decode_head=dict(channels=8)),
        }
    ).configs
    head = found['a'][None]['model']['decode_head']
    assert (head['channels'], head['in_channels'], head['num_classes']) == (16, 128, 11)
    assert found['b'][None]['model'] == dict(type='Other', decode_head=dict(num_classes=2))
    assert found['b']['semi']['model'] == dict(type='Other', decode_head=dict(num_classes=2, channels=8))


def test_configs_hold_nothing_of_the_run_as_a_whole(plan):
    found = plan({'dmt.models.a.weights_help': 'text', 'dmt.models.a.labeled.indices': 3})
    expected = found.cfg.keys() - {'dmt', 'runner_type'}
    assert {'model', 'train_dataloader', 'work_dir', 'default_scope'} < expected
    assert [set(found.configs[model][stage]) for model in 'ab' for stage in STAGES] == [expected] * 6


def test_phases_and_settings(plan):
    found = plan({'dmt.label_ratios': (0.5,)})
    assert [phase.name for phase in found.phases] == [
        '00_train_a', '00_train_b', '01_label_a', '01_train_b', '01_label_b', '01_train_a'
    ]  # fmt: skip
    assert found.settings.label_ratios == (0.5,)
    assert (list(found.configs), found.task.store) == (['a', 'b'], 'maps')


def test_number_of_classes_is_that_of_the_model(plan):
    found = plan({'dmt.models.b.model.decode_head.num_classes': 5, 'dmt.semi.model.decode_head.num_classes': 7})
    assert (found.num_classes('a'), found.num_classes('b')) == (11, 5)


def test_moved_keys_are_in_their_new_places(tiny_config, tmp_path):
    found = RunPlan.of(tiny_config(tmp_path, {'dmt.gamma_ramp': True}))
    assert 'gamma_ramp' not in found.cfg.dmt
    assert found.configs['b']['semi']['model']['decode_head']['loss_decode']['ramp'] is True


def test_config_that_is_no_dmt_config_is_refused(tiny_config, tmp_path):
    cfg = tiny_config(tmp_path)
    cfg.pop('dmt')
    with pytest.raises(ValueError, match='has no `dmt` dict'):
        RunPlan.of(cfg)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'find_unused_parameters': 'no'}, r"^find_unused_parameters must be True or False, got 'no'$"),
        ({'load_from': 3}, r'^load_from must be a string, got 3$'),
        ({'custom_hooks': 'EMAHook'}, r"^custom_hooks must be a list, got 'EMAHook'$"),
        ({'param_scheduler': 'x'}, r"^param_scheduler must be a dict or a list, got 'x'$"),
        ({'train_dataloader.batch_size': '8'}, r"^train_dataloader\.batch_size of model a must be .* got '8'"),
        ({'train_dataloader.batch_size': 0}, r'^train_dataloader\.batch_size of model a must be .* got 0'),
        ({'train_dataloader.batch_size': True}, r'batch_size of model a must be .* got True'),
        ({'dmt.models.b': dict(train_dataloader=dict(batch_size=2.5))}, r'batch_size of model b must be .* got 2\.5'),
    ],
    ids=str,
)
def test_types_of_keys_beside_dmt(tiny_config, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        RunPlan.of(tiny_config(tmp_path, options))


def test_the_stock_model_of_a_method_owns_the_preprocessor_and_trains_alone_at_first(tiny_config, tmp_path):
    cfg = tiny_config(tmp_path / 'run')
    stock, preprocessor = cfg.model, cfg.data_preprocessor.to_dict()
    stock.pop('data_preprocessor')
    cfg.model = dict(type='FixMatch', model=stock)
    cfg.dmt.update(scheme='single', label_ratios=())
    cfg.dmt.models = dict(a=dict())
    configs = RunPlan.of(cfg).configs['a']
    for stage in STAGES:
        own = configs[stage]['model']
        assert 'data_preprocessor' not in configs[stage]
        assert own['type'] == ('DMTEncoderDecoder' if stage == 'supervised' else 'FixMatch')
        assert (own if stage == 'supervised' else own['model'])['data_preprocessor'] == preprocessor
    assert 'data_preprocessor' not in own


@pytest.mark.parametrize('place', ['dmt.models.b', 'dmt.semi'])
def test_preprocessor_beside_that_of_the_model_is_refused(tiny_config, tmp_path, place):
    """It would have no effect."""
    with pytest.raises(UserError, match=r'data_preprocessor in the overrides of model . .*change model\.data_preproc'):
        RunPlan.of(tiny_config(tmp_path, {f'{place}.data_preprocessor': dict(mean=[0, 0, 0])}))

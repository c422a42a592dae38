import copy
import logging

import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger

from mmdmt.engine import DMTRunner
from mmdmt.engine.old_keys import LAST_COMMIT, current
from mmdmt.engine.settings import DMTSettings
from mmdmt.losses import DynamicMutualLoss

LOSS = 'model.decode_head.loss_decode'
OVERRIDE = 'dmt.models.b.model.decode_head.loss_decode'  # has no `type`: it is merged into that of the model


@pytest.fixture
def make(tiny_config, tmp_path):
    """A config with options, whose segmentor has an auxiliary head and whose model b has a loss of its own."""

    def make(options=None):
        auxiliary = dict(type='FCNHead', loss_decode=[dict(type='DynamicMutualLoss', loss_name='loss_aux')])
        own = dict(
            type='DMTEncoderDecoder', decode_head=dict(num_classes=11, loss_decode=dict(type='CrossEntropyLoss'))
        )
        return tiny_config(
            tmp_path / 'run',
            {'model.auxiliary_head': auxiliary, 'dmt.models.b.supervised.model': own, **(options or {})},
        )

    return make


@pytest.fixture
def warnings():
    """Warnings that are logged."""
    messages, handler = [], logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


REMOVED = [
    ({f'{LOSS}.confidence_power': 2.0}, 'confidence_power of DynamicMutualLoss'),
    ({f'{LOSS}.class_normalised': True}, 'class_normalised of DynamicMutualLoss'),
    ({f'{LOSS}.normaliser': 'weighted'}, 'normaliser of DynamicMutualLoss'),
    ({f'{LOSS}.class_weight_of': 'human'}, 'class_weight_of of DynamicMutualLoss'),
    ({f'{LOSS}.prior_corrected': True}, 'prior_corrected of DynamicMutualLoss'),
    ({f'{LOSS}.gamma1': [1.0, 2.0]}, 'gamma1=[1.0, 2.0], a gamma for each class,'),
    ({f'{OVERRIDE}.class_normalised': True}, 'class_normalised of DynamicMutualLoss'),
    ({f'{OVERRIDE}.gamma2': (1.0, 2.0)}, 'gamma2=(1.0, 2.0), a gamma for each class,'),
    ({'dmt.gamma_scale': (0, 1)}, 'dmt.gamma_scale'),
    ({'model.cut_mix': dict(ratio=0.5)}, 'cut_mix of the segmentor'),
    ({'model.type': 'DMTCascadeEncoderDecoder', 'model.cut_mix': True}, 'cut_mix of the segmentor'),
    ({'dmt.semi.model.cut_mix': dict(ratio=0.5)}, 'cut_mix of the segmentor'),
    ({'dmt.models.b.supervised.model.cut_mix': True}, 'cut_mix of the segmentor'),
    ({'dmt.semi.custom_hooks': [dict(type='NormEvalHook')]}, 'NormEvalHook'),
]


@pytest.mark.parametrize(('options', 'name'), REMOVED, ids=lambda value: value if isinstance(value, str) else None)
@pytest.mark.parametrize('read', [current, DMTRunner])
def test_removed_key_is_refused(make, options, name, read):
    cfg = make(options)
    with pytest.raises(ValueError) as error:
        read(cfg)
    assert str(error.value) == (
        f'{name} was removed because it did not win on two data sets (docs/results.md). Leave it out, or use commit '
        '6ca36a1, the last one that supports it'
    )


def test_what_the_message_names_is_there(root):
    assert (root / 'docs/results.md').is_file()
    assert LAST_COMMIT == '6ca36a1'


@pytest.mark.parametrize(
    'foreign',
    [
        dict(type='OtherLoss', normaliser='weighted', class_weight_of='all', gamma1=[1.0, 2.0]),
        dict(type='OtherSegmentor', cut_mix=True),
        dict(type='OtherHook', name='NormEvalHook'),
    ],
    ids=lambda foreign: foreign['type'],
)
def test_keys_of_others_are_theirs(make, foreign):
    cfg = make({'dmt.semi.custom_hooks': [foreign], 'dmt.models.b.model': foreign})
    assert current(cfg) is cfg


@pytest.mark.parametrize('ramp', [True, False])
def test_ramp_has_moved_into_every_dynamic_loss(make, warnings, ramp):
    old = make({'dmt.gamma_ramp': ramp})
    before, new = copy.deepcopy(old.to_dict()), make()
    new.model.decode_head.loss_decode.ramp = new.model.auxiliary_head.loss_decode[0].ramp = ramp
    assert current(old).to_dict() == new.to_dict()
    assert old.to_dict() == before
    assert warnings == [f'dmt.gamma_ramp has moved: use ramp={ramp} of DynamicMutualLoss']


def test_ramp_of_a_stock_model(make):
    cfg = make({'dmt.gamma_ramp': True})
    for head in (cfg.model.decode_head, cfg.model.auxiliary_head):
        head.loss_decode = dict(type='CrossEntropyLoss')
    assert current(cfg).dmt.loss == dict(ramp=True)


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({'rank_stride': 16}, {'rank_stride': 16}),
        ({'confidence_dtype': 'float16'}, {'half': True}),
        ({'rank_stride': 16, 'confidence_dtype': 'float16'}, {'rank_stride': 16, 'half': True}),
        ({'rank_stride': 16, 'label_writer': {'half': True}}, {'rank_stride': 16, 'half': True}),
    ],
    ids=str,
)
def test_options_of_the_label_writer_have_moved(make, warnings, options, expected):
    old = make({f'dmt.{key}': value for key, value in options.items()})
    before = copy.deepcopy(old.to_dict())
    assert current(old).to_dict() == make({'dmt.label_writer': expected}).to_dict()
    assert DMTRunner(old).settings.label_writer == expected
    assert old.to_dict() == before
    assert len(warnings) == 2  # of each of the two calls
    assert warnings[0].startswith('dmt.rank_stride or dmt.confidence_dtype has moved: use dmt.label_writer={')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'dmt.gamma_ramp': 1}, r'^dmt\.gamma_ramp must be True or False, got 1$'),
        (
            {'dmt.confidence_dtype': 'bfloat16'},
            r"^dmt\.confidence_dtype='bfloat16' is not one of \('float32', 'float16'\)$",
        ),
        ({'dmt.rank_stride': 0}, r'^dmt\.label_writer\.rank_stride must be above 0, got 0$'),
    ],
)
def test_bad_value_of_a_moved_key_is_refused(make, options, message):
    with pytest.raises(ValueError, match=message):
        DMTRunner(make(options))


def test_config_of_this_version_is_taken_as_it_is(make, warnings):
    new = make({f'{LOSS}.ramp': True, 'dmt.label_writer': dict(half=True)})
    assert current(new) is new
    assert warnings == []


def test_config_without_dmt_is_not_a_matter_of_old_keys():
    cfg = Config(dict(model=dict(type='EncoderDecoder')))
    assert current(cfg) is cfg
    with pytest.raises(ValueError, match='has no `dmt` dict'):
        DMTSettings.from_config(cfg)


@pytest.mark.parametrize('name', ['mmseg.DynamicMutualLoss', DynamicMutualLoss])
def test_ramp_reaches_a_loss_in_any_spelling(tiny_config, tmp_path, name):
    options = {'dmt.gamma_ramp': True, 'model.decode_head.loss_decode': dict(_delete_=True, type=name)}
    cfg = current(tiny_config(tmp_path, options))
    assert cfg.model.decode_head.loss_decode.ramp is True
    with pytest.raises(ValueError, match='normaliser of DynamicMutualLoss was removed'):
        current(tiny_config(tmp_path, {**options, 'model.decode_head.loss_decode.normaliser': 'valid'}))


def test_names_of_the_users_own_are_left_alone(tiny_config, tmp_path):
    cfg = tiny_config(tmp_path, {'cut_mix': dict(x=1), 'custom_hooks': [dict(type='Mine', options=dict(normaliser=1))]})
    assert current(cfg) is cfg


def test_defaults_of_the_moved_options_need_no_option(make):
    old = make({'dmt.confidence_dtype': 'float32', 'dmt.rank_stride': 1})
    assert current(old).to_dict() == make().to_dict()


@pytest.mark.parametrize(
    ('options', 'key'),
    [
        ({f'{LOSS}.variant': 'online'}, "variant='online' of DynamicMutualLoss"),
        ({f'{OVERRIDE}.variant': 'online'}, "variant='online' of DynamicMutualLoss"),
        ({f'{LOSS}.threshold': 0.9}, 'threshold of DynamicMutualLoss'),
        ({'dmt.scheme': 'online'}, "dmt.scheme='online'"),
    ],
)
def test_online_self_training_has_moved_to_a_method(make, options, key):
    with pytest.raises(ValueError, match=rf"^{key} has moved to a method: set dmt.scheme='single'.*type='OnlineST'"):
        current(make(options))


def test_the_threshold_of_a_method_is_no_old_key(make):
    cfg = make()
    cfg.model = dict(type='FixMatch', threshold=0.9, model=cfg.model)
    assert current(cfg) is cfg

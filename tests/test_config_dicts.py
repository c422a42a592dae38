import copy

import pytest
from mmengine.config import Config, ConfigDict

from mmdmt.config_dicts import (
    copy_config,
    dicts_in,
    dicts_of_type,
    first_pipeline,
    leaves,
    merge,
    stock_model,
    with_pipeline,
    without_pretrained,
)


@pytest.mark.parametrize(
    ('overrides', 'expected'),
    [
        ({}, {'x': 1, 'd': {'p': 1, 'q': [1, 2]}}),
        ({'x': 2}, {'x': 2, 'd': {'p': 1, 'q': [1, 2]}}),
        ({'d': {'p': 5}}, {'x': 1, 'd': {'p': 5, 'q': [1, 2]}}),
        ({'d': {'q': [3]}}, {'x': 1, 'd': {'p': 1, 'q': [3]}}),
        ({'_delete_': True, 'r': {'s': 0}}, {'r': {'s': 0}}),
        ({'_delete_': False, 'x': 2}, {'x': 2, 'd': {'p': 1, 'q': [1, 2]}}),
        ({'d': {'_delete_': True, 'r': 0}}, {'x': 1, 'd': {'r': 0}}),
        ({'d': {'_delete_': False, 'r': 0}}, {'x': 1, 'd': {'p': 1, 'q': [1, 2], 'r': 0}}),
        ({'x': {'new': {'deep': 1}}}, {'x': {'new': {'deep': 1}}, 'd': {'p': 1, 'q': [1, 2]}}),
        ({'y': {'_delete_': True, 'new': {'_delete_': True}}}, {'x': 1, 'd': {'p': 1, 'q': [1, 2]}, 'y': {'new': {}}}),
        ({'d': None}, {'x': 1, 'd': None}),
    ],
)
def test_merge(overrides, expected):
    base = {'x': 1, 'd': {'p': 1, 'q': [1, 2]}}
    before = copy.deepcopy((base, overrides))
    result = merge(base, overrides)
    assert result == expected
    if isinstance(result.get('d'), dict):
        result['d'].setdefault('q', []).append('changed')
    assert (base, overrides) == before


def test_merged_values_are_copies():
    base, overrides = {'kept': [1]}, {'given': [2], 'd': {'list': [3]}}
    result = merge(base, overrides)
    for value in (result['kept'], result['given'], result['d']['list']):
        value.append('changed')
    assert (base, overrides) == ({'kept': [1]}, {'given': [2], 'd': {'list': [3]}})


def test_without_pretrained_keeps_other_initialisation():
    kaiming = dict(type='Kaiming', layer='Conv2d')
    model = dict(init_cfg=[kaiming, dict(type='Pretrained', checkpoint='x')], heads=[dict(pretrained='y', k=1)])
    before = copy.deepcopy(model)
    result = without_pretrained(model)
    assert result == dict(init_cfg=[kaiming, None], heads=[dict(pretrained=None, k=1)])
    result['init_cfg'][0]['layer'] = 'changed'
    assert model == before


def test_copy_config_is_of_ordinary_dicts():
    config = Config(dict(a=dict(b=[dict(c=1)], size=(2, dict(deep=3))), number=4))._cfg_dict
    result = copy_config(config)
    assert result == {'a': {'b': [{'c': 1}], 'size': (2, {'deep': 3})}, 'number': 4}
    assert (type(config.a.b[0]), type(result), type(result['a']), type(result['a']['b'][0])) == (
        ConfigDict, dict, dict, dict
    )  # fmt: skip
    assert (type(result['a']['size']), type(result['a']['size'][1])) == (tuple, dict)
    result['a']['b'][0]['c'] = result['number'] = result['a']['size'][1]['deep'] = 'changed'
    assert (config.a.b[0].c, config.number, config.a.size[1]['deep']) == (1, 4, 3)


NODE = {
    'type': 'Outer',
    'parts': [{'type': 'Loss', 'n': 1}, ({'type': 'Loss', 'n': 2}, 'Loss')],
    'own': {'loss': {'type': 'Loss', 'n': 3, 'inner': {'type': 'Loss', 'n': 4}}},
}


def test_dicts_in_a_config_come_from_outside_in():
    assert [found.get('n', found.get('type')) for found in dicts_in(NODE)] == ['Outer', 1, 2, None, 3, 4]
    assert list(dicts_in('Loss')) == list(dicts_in([1, 'Loss', None])) == []


def test_dicts_of_type_are_those_of_the_config_itself():
    node = copy.deepcopy(NODE)
    found = list(dicts_of_type(node, 'Loss'))
    assert [loss['n'] for loss in found] == [1, 2, 3, 4]
    assert list(dicts_of_type(node, 'Los')) == []
    found[3]['n'] = 'changed'
    assert node['own']['loss']['inner']['n'] == 'changed'


def test_leaves():
    node = dict(one=dict(two=(1, 2), skipped=3), parts=[dict(type='A', skipped=1), 'B'], empty={}, nothing=None)
    assert dict(leaves('at', node, 'skipped'.__eq__)) == {
        'at.one.two': '[1, 2]', 'at.parts.0.type': "'A'", 'at.parts.1': "'B'", 'at.empty': '{}', 'at.nothing': 'None',
    }  # fmt: skip


COMBINED = dict(type='ConcatDataset', datasets=[dict(type='A', pipeline=[1]), dict(type='S', dataset=dict(type='B'))])


def test_pipeline_of_a_dataset():
    assert first_pipeline(dict(type='A', pipeline=[3])) == [3]
    assert first_pipeline(COMBINED) == first_pipeline(dict(type='S', dataset=COMBINED)) == [1]
    assert first_pipeline(dict(type='A')) == []


def test_another_pipeline():
    found = with_pipeline(COMBINED, [2])
    assert found['datasets'] == [dict(type='A', pipeline=[2]), dict(type='S', dataset=dict(type='B', pipeline=[2]))]
    assert COMBINED['datasets'][0]['pipeline'] == [1]


def test_the_stock_model_within_a_method():
    stock = dict(type='EncoderDecoder', backbone=dict(type='ResNet'))
    assert stock_model(stock) is stock
    assert stock_model(dict(type='Outer', model=dict(type='FixMatch', model=stock))) is stock
    assert stock_model({}) == {}

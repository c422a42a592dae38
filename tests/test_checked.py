from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, Field, ValidationError

from mmdmt.checked import Checked, NotNegativeInt, Positive, PositiveInt, check_keys


def _even(value):
    if value % 2:
        raise ValueError(f'must be even, got {value}')
    return value


class Part(Checked):
    size: PositiveInt
    even: Annotated[int, AfterValidator(_even)] = 0
    third: Annotated[int, Field(multiple_of=3)] = 0


class Settings(Checked):
    flag: bool = False
    count: NotNegativeInt = 0
    length: Positive | None = None
    share: Annotated[float, Field(le=1)] = 0.5
    name: str = ''
    options: dict = {}
    kind: Literal['last', 'val'] = 'last'
    steps: Annotated[list, Field(strict=False)] = []
    ratios: Annotated[tuple[float, ...], Field(strict=False)] = ()
    seeds: Annotated[tuple[NotNegativeInt, ...], Field(strict=False, min_length=1)] = (0,)
    part: Part | None = None
    parts: dict[str, Part] = {}


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({'flag': 'yes'}, "dmt.flag must be True or False, got 'yes'"),
        ({'flag': 1}, 'dmt.flag must be True or False, got 1'),
        ({'count': True}, 'dmt.count must be a whole number, got True'),
        ({'count': 2.0}, 'dmt.count must be a whole number, got 2.0'),
        ({'count': '3'}, "dmt.count must be a whole number, got '3'"),
        ({'count': -1}, 'dmt.count must be at least 0, got -1'),
        ({'length': '4'}, "dmt.length must be a number, got '4'"),
        ({'length': True}, 'dmt.length must be a number, got True'),
        ({'length': 0}, 'dmt.length must be above 0, got 0'),
        ({'length': float('inf')}, 'dmt.length must be a finite number, got inf'),
        ({'length': float('nan')}, 'dmt.length must be a finite number, got nan'),
        ({'share': 1.5}, 'dmt.share must be at most 1, got 1.5'),
        ({'name': 3}, 'dmt.name must be a string, got 3'),
        ({'options': 3}, 'dmt.options must be a dict, got 3'),
        ({'options': [('a', 1)]}, "dmt.options must be a dict, got [('a', 1)]"),
        ({'kind': 'first'}, "dmt.kind must be one of 'last' or 'val', got 'first'"),
        ({'steps': 'abc'}, "dmt.steps must be a list, got 'abc'"),
        ({'steps': {'a': 1}}, "dmt.steps must be a list, got {'a': 1}"),
        ({'ratios': 0.5}, 'dmt.ratios must be a list, got 0.5'),
        ({'ratios': (0.5, 'x')}, "dmt.ratios.1 must be a number, got 'x'"),
        ({'seeds': []}, 'dmt.seeds must be a list of at least 1, got []'),
        ({'part': 3}, 'dmt.part must be a dict, got 3'),
        ({'part': {}}, 'dmt.part.size is missing'),
        ({'part': {'size': 1, 'even': 3}}, 'dmt.part.even must be even, got 3'),
        ({'part': {'size': 1, 'third': 4}}, 'dmt.part.third: Input should be a multiple of 3, got 4'),
        (
            {'part': {'size': 1, 'sise': 2}},
            'dmt.part has unknown key(s) sise (did you mean size?); allowed are even, size, third',
        ),
        ({'parts': {'a': {'size': 1}, 'b': {'size': 0}}}, 'dmt.parts.b.size must be above 0, got 0'),
        (3, 'dmt must be a dict, got 3'),
        (None, 'dmt must be a dict, got None'),
    ],
    ids=str,
)
def test_message_names_place_finding_and_what_is_allowed(content, message):
    with pytest.raises(ValueError) as error:
        Settings.read(content, 'dmt')
    assert str(error.value) == message


def test_unknown_keys_are_told_with_all_that_are_allowed():
    with pytest.raises(ValueError) as error:
        Settings.read({'y': 1, 'flag': 'yes', 'x': 2}, 'dmt')
    assert str(error.value) == (
        'dmt has unknown key(s) x, y; allowed are count, flag, kind, length, name, options, part, parts, ratios, '
        'seeds, share, steps'
    )


def test_at_most_three_lines():
    with pytest.raises(ValueError) as error:
        Settings.read({'flag': 1, 'count': 0.5, 'name': 3, 'share': 2, 'part': {}}, '')
    assert str(error.value).splitlines() == [
        'flag must be True or False, got 1',
        'count must be a whole number, got 0.5',
        'share must be at most 1, got 2',
    ]


@pytest.mark.parametrize('kind', [tuple, list])
def test_lists_and_tuples_are_alike_where_declared_so(kind):
    found = Settings.read({'steps': kind(['a']), 'ratios': kind([0.5, 1]), 'seeds': kind([3])}, '')
    assert (found.steps, found.ratios, found.seeds) == (['a'], (0.5, 1.0), (3,))


def test_whole_numbers_count_as_numbers():
    found = Settings.read({'length': 2, 'share': 1}, '')
    assert (found.length, found.share) == (2.0, 1.0)


def test_settings_cannot_be_changed():
    found = Settings.read({'part': {'size': 2}}, '')
    for own, name in ((found, 'flag'), (found.part, 'size')):
        with pytest.raises(ValidationError, match='frozen'):
            setattr(own, name, 1)
    assert (found.flag, found.part.size) == (False, 2)


def test_check_keys():
    check_keys('dmt.semi', {'iters': 1}, ['iters', 'epochs'])
    with pytest.raises(
        ValueError,
        match=r'^dmt\.semi has unknown key\(s\) 3, itrs \(did you mean iters\?\); allowed are epochs, iters$',
    ):
        check_keys('dmt.semi', {'itrs': 1, 3: 4}, ['iters', 'epochs'])
    with pytest.raises(ValueError, match=r'^dmt\.semi has unknown key\(s\) x; allowed are none$'):
        check_keys('dmt.semi', {'x': 1}, [])
    with pytest.raises(ValueError, match=r"^dmt\.semi must be a dict, got \['iters'\]$"):
        check_keys('dmt.semi', ['iters'], ['iters'])

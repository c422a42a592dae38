"""Settings that a user writes: types are checked, and messages name the key."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mmdmt.errors import UserError

Model = TypeVar('Model', bound='Checked')

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PositiveInt = Annotated[int, Field(gt=0)]
NotNegativeInt = Annotated[int, Field(ge=0)]

# Allowed values by pydantic's error type; the context of the error fills the braces.
EXPECTED = {
    'bool_type': 'True or False',
    'int_type': 'a whole number',
    'float_type': 'a number',
    'finite_number': 'a finite number',
    'string_type': 'a string',
    'dict_type': 'a dict',
    'model_type': 'a dict',
    'list_type': 'a list',
    'tuple_type': 'a list',
    'literal_error': 'one of {expected}',
    'greater_than': 'above {gt:g}',
    'greater_than_equal': 'at least {ge:g}',
    'less_than': 'below {lt:g}',
    'less_than_equal': 'at most {le:g}',
    'too_short': 'a list of at least {min_length}',
}


class Checked(BaseModel):
    """Base of settings: it refuses unknown keys, converts no types, and cannot be changed after reading.

    A float accepts an integer. A tuple accepts a list, and a list a tuple, only in a field with ``strict=False``.
    """

    model_config = ConfigDict(strict=True, extra='forbid', frozen=True, use_attribute_docstrings=True)

    @model_validator(mode='before')
    @classmethod
    def _refuse_unknown_keys(cls, content: Any) -> Any:
        if isinstance(content, Mapping):
            message = _unknown_keys(content, cls.model_fields)
            if message is not None:
                raise ValueError(message)
        return content

    @classmethod
    def read(cls: type[Model], content: Any, key: str) -> Model:
        """Read the settings that a config holds under ``key``.

        Raises:
            ValueError: a setting is wrong. Key, value and allowed values are named, for up to three, one a line.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            errors = error.errors()
            # A list that lost its bad entries is too short as well: the bad entries are the mistake.
            bad = {item['loc'][:-1] for item in errors}
            errors = [item for item in errors if item['type'] != 'too_short' or item['loc'] not in bad]
            raise UserError('\n'.join(_say(key, item) for item in errors[:3])) from None


def check_keys(key: str, content: Any, allowed: Iterable[str]) -> None:
    """Raise ValueError if ``content`` is no dict or has an unknown key, naming both and the allowed keys."""
    if not isinstance(content, Mapping):
        raise UserError(f'{key} must be a dict, got {content!r}')
    message = _unknown_keys(content, allowed)
    if message is not None:
        raise UserError(f'{key} {message}')


def _unknown_keys(content: Mapping, allowed: Iterable[str]) -> str | None:
    unknown = sorted(map(str, set(content) - set(allowed)))
    if not unknown:
        return None
    similar = [name for key in unknown for name in difflib.get_close_matches(key, allowed, 1, 0.75)]
    hint = f' (did you mean {" and ".join(similar)}?)' if similar else ''
    return f'has unknown key(s) {", ".join(unknown)}{hint}; allowed are {", ".join(sorted(allowed)) or "none"}'


def _say(key: str, error: Mapping[str, Any]) -> str:
    """Describe one pydantic error in one line."""
    place = '.'.join(part for part in (key, *map(str, error['loc'])) if part) or 'it'
    if error['type'] == 'missing':
        return f'{place} is missing'
    context = error.get('ctx', {})
    if error['type'] == 'value_error':  # a validator raised it; its message continues the place
        return f'{place} {context["error"]}'
    expected = EXPECTED.get(error['type'])
    if expected is None:
        return f'{place}: {error["msg"]}, got {error["input"]!r}'
    return f'{place} must be {expected.format(**context)}, got {error["input"]!r}'

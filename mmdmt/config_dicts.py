"""Nested dicts of a config: copying, merging and searching them."""

import copy
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def copy_config(config: Any) -> Any:
    """A deep copy in ordinary dicts and lists: building something must not change its config."""
    if isinstance(config, Mapping):
        return {name: copy_config(value) for name, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(copy_config(value) for value in config)
    return config


def merge(base: Mapping, overrides: Mapping) -> dict:
    """A copy of ``base`` with ``overrides`` merged in, dict by dict; ``_delete_=True`` replaces a dict as a whole."""
    result = {key: copy.deepcopy(value) for key, value in base.items()}
    for key, value in overrides.items():
        if isinstance(value, Mapping):
            value = dict(value)
            replace = value.pop('_delete_', False) or not isinstance(result.get(key), Mapping)
            result[key] = merge({} if replace else result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def merge_all(layers: Iterable[Mapping]) -> dict:
    """The first of some dicts with the others merged in, one after the other."""
    return functools.reduce(merge, layers, {})


def dicts_in(node: Any) -> Iterator[dict]:
    """All dicts in a config, the outer ones first."""
    if isinstance(node, Mapping):
        yield node  # type: ignore[misc]
        node = node.values()
    elif not isinstance(node, list | tuple):
        return
    for value in node:
        yield from dicts_in(value)


def dicts_of_type(node: Any, name: str) -> Iterator[dict]:
    """All dicts in a config whose ``type`` is ``name``."""
    return (found for found in dicts_in(node) if found.get('type') == name)


def without_pretrained(node: Any) -> Any:
    """A copy of a model config that loads no weights of its own."""
    if isinstance(node, Mapping):
        if node.get('type') == 'Pretrained':
            return None
        return {key: None if key == 'pretrained' else without_pretrained(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(without_pretrained(item) for item in node)
    return copy.deepcopy(node)

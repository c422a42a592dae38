"""Copy, merge and search the nested dicts of a config."""

import copy
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any


def copy_config(config: Any) -> Any:
    """Copy nested dicts (to ordinary ones), lists and tuples, so that building something cannot change its config."""
    if isinstance(config, Mapping):
        return {name: copy_config(value) for name, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(copy_config(value) for value in config)
    return config


def merge(base: Mapping, overrides: Mapping) -> dict:
    """Copy ``base`` and merge ``overrides`` in, dict by dict; ``_delete_=True`` replaces a whole dict."""
    overrides = dict(overrides)
    replace = overrides.pop('_delete_', False)
    result = {} if replace else {key: copy.deepcopy(value) for key, value in base.items()}
    for key, value in overrides.items():
        if isinstance(value, Mapping):
            before = result.get(key)
            result[key] = merge(before if isinstance(before, Mapping) else {}, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def merge_all(layers: Iterable[Mapping]) -> dict:
    """The first of some dicts with the others merged in, one after the other."""
    return functools.reduce(merge, layers, {})


def dicts_in(node: Any) -> Iterator[dict]:
    """Yield all dicts in a config, outer ones first."""
    if isinstance(node, Mapping):
        yield node  # type: ignore[misc]
        node = node.values()
    elif not isinstance(node, list | tuple):
        return
    for value in node:
        yield from dicts_in(value)


def leaves(key: str, value: Any, skip: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """Yield dotted key and value, as text, of all that is below ``key``, without dict entries that ``skip`` names."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            if not skip(name):
                yield from leaves(f'{key}.{name}', item, skip)
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            yield from leaves(f'{key}.{index}', item, skip)
    else:
        yield key, repr(list(value) if isinstance(value, tuple) else value)


def type_name(node: Mapping) -> str | None:
    """Name of the ``type`` of a dict, without its scope (``mmseg.Name``), or of the class itself; None without one."""
    found = node.get('type')
    return found.rpartition('.')[2] if isinstance(found, str) else getattr(found, '__name__', None)


def dicts_of_type(node: Any, name: str) -> Iterator[dict]:
    """All dicts in a config whose ``type`` is ``name``, in whichever spelling."""
    return (found for found in dicts_in(node) if type_name(found) == name)


def stock_model(config: dict) -> dict:
    """The config of the stock model within that of a method of :mod:`mmdmt.methods`; a stock model's own config.

    Example:
        >>> stock_model(dict(type='FixMatch', model=dict(type='EncoderDecoder')))
        {'type': 'EncoderDecoder'}
    """
    inner = config.get('model')
    return stock_model(inner) if isinstance(inner, dict) else config


def without_pretrained(node: Any) -> Any:
    """Copy a model config without its keys that load pretrained weights."""
    if isinstance(node, Mapping):
        if node.get('type') == 'Pretrained':
            return None
        return {key: None if key == 'pretrained' else without_pretrained(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(without_pretrained(item) for item in node)
    return copy.deepcopy(node)


def with_pipeline(dataset: Any, pipeline: Sequence) -> Any:
    """Copy a dataset config with another pipeline, in its parts if it combines several."""
    if isinstance(dataset, list | tuple):
        return [with_pipeline(part, pipeline) for part in dataset]
    inner = {key: with_pipeline(dataset[key], pipeline) for key in ('dataset', 'datasets') if key in dataset}
    return {**dataset, **(inner or {'pipeline': pipeline})}


def first_pipeline(dataset: Mapping) -> list:
    """The pipeline of a dataset config; of a combination, that of its first part."""
    while 'pipeline' not in dataset and ('dataset' in dataset or dataset.get('datasets')):
        dataset = dataset['dataset'] if 'dataset' in dataset else dataset['datasets'][0]
    return dataset.get('pipeline', [])

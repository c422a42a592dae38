"""Config keys of earlier versions: refuses the removed ones, translates the moved ones."""

import copy
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from mmdmt.config_dicts import dicts_in, dicts_of_type, type_name
from mmdmt.errors import UserError

LAST_COMMIT = '6ca36a1'
"""The last commit that supports the removed keys."""

LOSS_KEYS = frozenset('confidence_power class_normalised normaliser class_weight_of prior_corrected'.split())
SEGMENTORS = ('DMTEncoderDecoder', 'DMTCascadeEncoderDecoder')


def current(cfg: Config) -> Config:
    """Translate a config to this version: return it unchanged, or a copy with moved keys at their new places.

    Raises:
        ValueError: if it sets a removed key; names the key and where its results are.
    """
    removed = next(_removed(cfg._cfg_dict), None)
    if removed is not None:
        raise UserError(
            f'{removed} was removed because it did not win on two data sets (docs/results.md). Leave it out, or use '
            f'commit {LAST_COMMIT}, the last one that supports it'
        )
    moved = next(_moved_to_methods(cfg._cfg_dict), None)
    if moved is not None:
        raise UserError(
            f"{moved} has moved to a method: set dmt.scheme='single', end dmt.unlabeled.pipeline with Views(weak=[], "
            "pack=...), and set model=dict(type='OnlineST', model=..., threshold=...), as configs/online_st does"
        )
    if not isinstance(cfg.get('dmt'), Mapping) or not {'gamma_ramp', 'rank_stride', 'confidence_dtype'} & set(cfg.dmt):
        return cfg
    cfg = copy.deepcopy(cfg)
    _move_ramp(cfg)
    _move_writer_options(cfg)
    return cfg


def _removed(cfg: Mapping) -> Iterator[str]:
    """Yield the removed keys that a config sets."""
    dmt = cfg.get('dmt')
    if isinstance(dmt, Mapping) and dmt.get('gamma_scale') is not None:
        yield 'dmt.gamma_scale'
    if any(type_name(found) == 'NormEvalHook' for found in dicts_in(cfg)):
        yield 'NormEvalHook'
    for found in dicts_in(cfg):
        if isinstance(found.get('model'), Mapping):
            for part in dicts_in(found['model']):
                yield from _removed_of_model(part)


def _moved_to_methods(cfg: Mapping) -> Iterator[str]:
    """Yield the keys of Online ST as a variant of the loss."""
    dmt = cfg.get('dmt')
    if isinstance(dmt, Mapping) and dmt.get('scheme') == 'online':
        yield "dmt.scheme='online'"
    for found in dicts_in(cfg):
        if isinstance(found.get('model'), Mapping):
            for part in dicts_in(found['model']):
                if part.get('variant') == 'online':
                    yield "variant='online' of DynamicMutualLoss"
                if type_name(part) == 'DynamicMutualLoss' and 'threshold' in part:
                    yield 'threshold of DynamicMutualLoss'


def _removed_of_model(part: Mapping) -> Iterator[str]:
    """The same of a part of a model; one without a ``type`` is merged into another one."""
    name = type_name(part)
    if name in ('DynamicMutualLoss', None):
        yield from (f'{key} of DynamicMutualLoss' for key in sorted(LOSS_KEYS & part.keys()))
        for key in ('gamma1', 'gamma2'):
            if isinstance(part.get(key), list | tuple):
                yield f'{key}={part[key]!r}, a gamma for each class,'
    if name in (*SEGMENTORS, None) and part.get('cut_mix') is not None:
        yield 'cut_mix of the segmentor'


def _move_ramp(cfg: Config) -> None:
    ramp = cfg.dmt.pop('gamma_ramp', None)
    if ramp is None:
        return
    if not isinstance(ramp, bool):
        raise UserError(f'dmt.gamma_ramp must be True or False, got {ramp!r}')
    _say('dmt.gamma_ramp', f'ramp={ramp} of DynamicMutualLoss')
    losses = list(dicts_of_type([cfg.get('model'), cfg.dmt], 'DynamicMutualLoss'))
    for loss in losses:
        loss['ramp'] = ramp
    if not losses:  # stock models
        cfg.dmt.loss = {**(cfg.dmt.get('loss') or {}), 'ramp': ramp}


def _move_writer_options(cfg: Config) -> None:
    options: dict[str, Any] = {}
    stride = cfg.dmt.pop('rank_stride', 1)
    if stride != 1:
        options['rank_stride'] = stride
    if 'confidence_dtype' in cfg.dmt:
        dtype = cfg.dmt.pop('confidence_dtype')
        if dtype not in ('float32', 'float16'):
            raise UserError(f"dmt.confidence_dtype={dtype!r} is not one of ('float32', 'float16')")
        if dtype == 'float16':
            options['half'] = True
    if options:
        _say('dmt.rank_stride or dmt.confidence_dtype', f'dmt.label_writer={options}')
        cfg.dmt.label_writer = {**(cfg.dmt.get('label_writer') or {}), **options}


def _say(old: str, new: str) -> None:
    print_log(f'{old} has moved: use {new}', logger='current', level=logging.WARNING)

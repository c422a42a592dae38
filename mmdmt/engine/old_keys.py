"""Config keys of earlier versions: refuses the removed ones, translates the moved ones."""

import copy
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from mmdmt.config_dicts import dicts_in, dicts_of_type
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
    if not isinstance(cfg.get('dmt'), Mapping) or not {'gamma_ramp', 'rank_stride', 'confidence_dtype'} & set(cfg.dmt):
        return cfg
    cfg = copy.deepcopy(cfg)
    _move_ramp(cfg)
    _move_writer_options(cfg)
    return cfg


def _removed(node: Any) -> Iterator[str]:
    """Yield the removed keys that a config sets."""
    if 'gamma_scale' in (node.get('dmt') or ()):
        yield 'dmt.gamma_scale'
    for found in dicts_in(node):
        name = found.get('type')
        if name == 'NormEvalHook':
            yield 'NormEvalHook'
        if name in ('DynamicMutualLoss', None):
            yield from (f'{key} of DynamicMutualLoss' for key in sorted(LOSS_KEYS & found.keys()))
            for key in ('gamma1', 'gamma2'):
                if isinstance(found.get(key), list | tuple):
                    yield f'{key}={found[key]!r}, a gamma for each class,'
        if name in (*SEGMENTORS, None) and 'cut_mix' in found:
            yield 'cut_mix of the segmentor'


def _move_ramp(cfg: Config) -> None:
    ramp = cfg.dmt.pop('gamma_ramp', None)
    if ramp is None:
        return
    if not isinstance(ramp, bool):
        raise UserError(f'dmt.gamma_ramp must be True or False, got {ramp!r}')
    _say('dmt.gamma_ramp', f'ramp={ramp} of DynamicMutualLoss')
    for loss in dicts_of_type(cfg._cfg_dict, 'DynamicMutualLoss'):
        loss['ramp'] = ramp


def _move_writer_options(cfg: Config) -> None:
    options: dict[str, Any] = {}
    if 'rank_stride' in cfg.dmt:
        options['rank_stride'] = cfg.dmt.pop('rank_stride')
    if 'confidence_dtype' in cfg.dmt:
        dtype = cfg.dmt.pop('confidence_dtype')
        if dtype not in ('float32', 'float16'):
            raise UserError(f"dmt.confidence_dtype={dtype!r} is not one of ('float32', 'float16')")
        options['half'] = dtype == 'float16'
    if options:
        _say('dmt.rank_stride or dmt.confidence_dtype', f'dmt.label_writer={options}')
        cfg.dmt.label_writer = {**cfg.dmt.get('label_writer', {}), **options}


def _say(old: str, new: str) -> None:
    print_log(f'{old} has moved: use {new}', logger='current', level=logging.WARNING)

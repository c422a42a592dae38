"""A model that refuses to predict with the weights of a model of another config."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mmdmt.config_dicts import leaves
from mmdmt.errors import UserError

METADATA_KEY = 'mmdmt_model'
SHOWN = 3
# Parts of names of settings that only matter in training.
TRAINING_ONLY = re.compile(
    'drop|loss|init|pretrained|checkpoint|frozen|norm_|with_cp|sampler|mixup|batch_augments|cal_acc|topk|train_cfg'
)
# Settings of the whole model that only matter in training, or that a test may choose anew.
FREE_SETTINGS = re.compile(r'auxiliary_head|test_cfg|data_preprocessor\.(size|size_divisor|pad_val|seg_pad_val)\b')


class KnowsOrigin(nn.Module):
    """Mixin of a model of mmengine: its state dict names the settings that its predictions depend on.

    They are metadata of the state dict, beside its tensors, so other models load the weights as ever. Many such
    settings leave no trace in a tensor: normalization and order of channels, strides, dilations. A model with other
    settings than those of the weights that it has loaded can be trained, but raises at its first prediction.

    Args:
        args: Arguments of the model.
        kwargs: Likewise; as configs, they are the settings.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        settings = prediction_settings(kwargs)  # before a part of the model changes its config
        super().__init__(*args, **kwargs)
        self._settings = settings
        self._foreign: dict[str, str] | None = None
        self._register_state_dict_hook(_write_settings)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        """Run the model.

        Raises:
            UserError: to predict, if the weights are those of a model with other settings; names them.
        """
        if mode == 'loss':
            self._foreign = None  # from now on, the weights are its own
        elif mode == 'predict' and self._foreign is not None:
            raise UserError(_message(self._foreign, self._settings))
        return super().forward(inputs, data_samples, mode)

    def _load_from_state_dict(
        self, state_dict: Mapping, prefix: str, local_metadata: Mapping, *args: Any, **kwargs: Any
    ) -> None:
        found = local_metadata.get(METADATA_KEY)
        self._foreign = None if found in (None, self._settings) else dict(found)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args, **kwargs)


def prediction_settings(config: Mapping) -> dict[str, str]:
    """Dotted key -> value, as text, of the settings of a model config that predictions depend on.

    Example:
        >>> head = dict(type='FCNHead', align_corners=True, dropout_ratio=0.1)
        >>> prediction_settings(dict(decode_head=head, test_cfg=dict(mode='whole')))
        {'decode_head.type': "'FCNHead'", 'decode_head.align_corners': 'True'}
    """
    found: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping | list | tuple) and not _trains(key):
            found.update(leaves(key, value, _trains))
    return {key: value for key, value in found.items() if not FREE_SETTINGS.match(key) and value != 'None'}


def _trains(name: str) -> bool:
    return bool(TRAINING_ONLY.search(name))


def _write_settings(model: KnowsOrigin, state_dict: dict, prefix: str, local_metadata: dict) -> None:
    local_metadata[METADATA_KEY] = model._settings


def _message(trained: Mapping[str, str], built: Mapping[str, str]) -> str:
    differing = sorted(key for key in trained.keys() | built.keys() if trained.get(key) != built.get(key))
    shown = '; '.join(
        f'{key} {built.get(key, "absent")}, trained with {trained.get(key, "absent")}' for key in differing[:SHOWN]
    )
    more = f' and {len(differing) - SHOWN} more' if len(differing) > SHOWN else ''
    return (
        f'the weights are those of a model with other settings than this one ({shown}{more}). The top of a DMT config '
        'describes no single model: use best.py of the run with its best.pth, or test with tools/test.py of mmdmt'
    )

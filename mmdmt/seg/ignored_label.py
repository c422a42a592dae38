"""The label of ignored pixels: one for masks, padding, pseudo labels and losses."""

from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead

from mmdmt.errors import UserError
from mmdmt.seg.transforms import IGNORE_INDEX


def check_ignored_label(model: Any, key: str) -> None:
    """Refuse a segmentor with a head that ignores another label than 255, or that pads masks by another one.

    Pseudo labels mark pixels that are not selected by 255, and mmsegmentation marks padding and ``reduce_zero_label``
    by it. A head with another ``ignore_index`` would take it for a class, and not learn the class that it ignores.

    Raises:
        UserError: naming the head, or the value that masks are padded by.
    """
    padding = getattr(getattr(model, 'data_preprocessor', None), 'seg_pad_val', IGNORE_INDEX)
    if padding != IGNORE_INDEX:
        raise UserError(
            f'{key}: data_preprocessor.seg_pad_val={padding}, so padding would be learned as a class: ignored pixels '
            f'are {IGNORE_INDEX} in a DMT run'
        )
    for name, module in model.named_modules():
        if isinstance(module, BaseDecodeHead) and module.ignore_index != IGNORE_INDEX:
            found = module.ignore_index
            remedy = (
                '; to leave out class 0, remove it and set reduce_zero_label=True in all data sets (0 becomes 255, and '
                'class 1 becomes 0)'
                if found == 0
                else ''
            )
            raise UserError(
                f'{key}: {name}.ignore_index={found}, but ignored pixels are {IGNORE_INDEX} in a DMT run: masks, '
                f'padding and pseudo labels{remedy}'
            )

"""Several views of one image, for methods that compare their predictions."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from mmcv.transforms.base import BaseTransform
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import FUNCTIONS, TRANSFORMS

from mmdmt.errors import UserError

MARKER = 'view_marker'


@TRANSFORMS.register_module()
class Views(BaseTransform):
    """Pack several views of one image; the last transform of a pipeline, after the geometry that they share.

    The result maps the name of each view to what ``pack`` makes of it, usually ``inputs`` and ``data_samples``. The
    names are those of the arguments of the method's ``loss``. Random transforms draw for each view anew.

    Args:
        pack: Config of the packing transform, such as ``dict(type='PackSegInputs')``.
        same_geometry: Refuse transforms that move pixels: predictions of segmentation views are compared by pixel.
        views: Name -> transforms of this view; ``weak=[]`` is the image as it is.

    Raises:
        UserError: without a view, or if a view moves pixels despite ``same_geometry``. The message names the view.
    """

    def __init__(self, pack: Mapping, same_geometry: bool = True, **views: Sequence[Any]) -> None:
        if not views:
            raise UserError('Views needs at least one view, such as weak=[]')
        self.pack = TRANSFORMS.build(dict(pack))
        self.same_geometry = same_geometry
        self.views = {name: Compose(list(transforms)) for name, transforms in views.items()}

    def transform(self, results: dict) -> dict[str, dict]:
        """Make and pack the views."""
        return {name: self.pack(self._view(name, view, results)) for name, view in self.views.items()}

    def _view(self, name: str, view: Compose, results: dict) -> dict:
        results = copy.deepcopy(results)
        if not self.same_geometry:
            return view(results)
        # A map of pixel numbers takes part in each transform that moves label maps. Some move `gt_seg_map` only.
        height, width = results['img'].shape[:2]
        marker: np.ndarray = (np.arange(height * width) % 251).astype(np.uint8).reshape(height, width)
        key = MARKER if 'gt_seg_map' in results else 'gt_seg_map'
        fields, flipped = list(results.get('seg_fields', ())), results.get('flip', False)
        results.update({key: marker, 'seg_fields': [*fields, key]})
        results = view(results)
        same = results['img'].shape[:2] == (height, width) and np.array_equal(results.pop(key), marker)
        if not same or results.get('flip', False) != flipped:
            raise UserError(
                f'Views: view {name!r} moves pixels, so it cannot be compared with the others; move its geometric '
                'transforms before Views'
            )
        results['seg_fields'] = fields
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({", ".join(self.views)}, same_geometry={self.same_geometry})'


def view_names(sample: Any) -> tuple[str, ...]:
    """Names of the views of a packed sample; one without ``Views`` is the view ``labeled``.

    Example:
        >>> view_names({'inputs': 0, 'data_samples': 0}), view_names({'weak': {}, 'strong': {}})
        (('labeled',), ('weak', 'strong'))
    """
    return ('labeled',) if 'inputs' in sample else tuple(sample)


@FUNCTIONS.register_module()
def collate_views(batch: Iterable[Mapping]) -> dict[str, dict]:
    """Collate a batch of labeled and unlabeled samples by view; labeled ones without views are the view ``labeled``.

    Example:
        >>> collate_views([{'inputs': 1}, {'weak': {'inputs': 2}}, {'weak': {'inputs': 3}}])
        {'labeled': {'inputs': [1]}, 'weak': {'inputs': [2, 3]}}
    """
    samples: dict[str, list] = {}
    for sample in batch:
        for name in view_names(sample):
            samples.setdefault(name, []).append(sample if 'inputs' in sample else sample[name])
    return {name: pseudo_collate(views) for name, views in samples.items()}

"""The sampler of phases with pseudo labels."""

from typing import Any

from mmengine.registry import DATA_SAMPLERS

from mmdmt.datasets.pass_sampler import PassSampler


@DATA_SAMPLERS.register_module()
class LabeledUnlabeledSampler(PassSampler):
    """Yields endless batches with a fixed number of labeled and of unlabeled images.

    An epoch is one pass over the unlabeled images; the labeled ones cycle. Each set is reshuffled when it is used up.
    Batch number ``b`` depends on ``b``, the rank and the seed only, so a resumed run continues with the batch that it
    would have seen.

    Args:
        dataset: A ``ConcatDataset`` of two datasets, the labeled one first.
        labeled: Labeled images in the batch of each process, at least 1.
        unlabeled: Unlabeled images in the batch of each process, at least 1. The data loader's ``batch_size`` must
            be ``labeled + unlabeled``.
        seed: Must be the same in all processes. Default: drawn, and shared with all processes.

    Raises:
        ValueError: if ``dataset`` does not concatenate two non-empty datasets, or a number is below 1.
    """

    def __init__(self, dataset: Any, labeled: int, unlabeled: int, seed: int | None = None) -> None:
        parts = getattr(dataset, 'datasets', ())
        if len(parts) != 2 or not all(len(part) for part in parts):
            raise ValueError(
                'LabeledUnlabeledSampler needs a ConcatDataset of a labeled and an unlabeled dataset, both non-empty; '
                f'got {type(dataset).__name__} of lengths {[len(part) for part in parts]}'
            )
        if min(labeled, unlabeled) < 1:
            raise ValueError(f'labeled={labeled} and unlabeled={unlabeled} images per batch must both be at least 1')
        self._start(tuple(len(part) for part in parts), (labeled, unlabeled), seed)

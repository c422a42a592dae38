"""The data preprocessor of semi-supervised methods."""

from typing import Any

from mmengine.model import BaseDataPreprocessor
from torch import nn


class ViewPreprocessor(BaseDataPreprocessor):
    """Apply a stock data preprocessor to each view of a batch.

    Args:
        stock: Data preprocessor of the stock model.
    """

    def __init__(self, stock: nn.Module) -> None:
        super().__init__()
        self.stock = stock

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Preprocess a batch: ``inputs`` and ``data_samples``, or one such dict for each view."""
        if 'inputs' in data:
            return self.stock(data, training)
        return {name: self.stock(view, training) for name, view in data.items()}

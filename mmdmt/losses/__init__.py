"""Losses of DMT; importing this package registers them."""

from mmdmt.losses.dynamic_mutual_loss import DynamicMutualLoss

__all__ = ['DynamicMutualLoss']

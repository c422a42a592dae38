"""Losses of DMT; importing it registers them."""

from mmdmt.losses.dynamic_mutual_loss import DynamicMutualLoss

__all__ = ['DynamicMutualLoss']

"""Pseudo labels on disk: the stores, and the metrics that write them. Importing this package registers the writers."""

from mmdmt.labels.map_writer import PseudoLabelWriter
from mmdmt.labels.maps import LabelMaps
from mmdmt.labels.table import LabelTable
from mmdmt.labels.table_writer import ImageLabelWriter

__all__ = ['ImageLabelWriter', 'LabelMaps', 'LabelTable', 'PseudoLabelWriter']

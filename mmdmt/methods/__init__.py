"""Single-stage semi-supervised methods, one file each; importing this package registers them."""

from mmdmt.methods.base import SemiSupervised, View
from mmdmt.methods.online_st import OnlineST

__all__ = ['OnlineST', 'SemiSupervised', 'View']

"""DMT, Dynamic Mutual Training (arXiv 2004.08514), for semi-supervised learning with the OpenMMLab toolboxes."""

from mmdmt.moved import keep_old_names
from mmdmt.shipped import config_path

__version__ = '0.1.0'
__all__ = ['config_path']

keep_old_names()

"""DMT, Dynamic Mutual Training (arXiv 2004.08514), for semi-supervised learning with the OpenMMLab toolboxes."""

__version__ = '0.1.0'

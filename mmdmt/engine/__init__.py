"""The run: planning, checking, executing and reporting the phases of DMT; importing it registers the runner."""

from mmdmt.engine.amp import CPUAmpOptimWrapper
from mmdmt.engine.channels_last import ChannelsLastHook
from mmdmt.engine.hook import DMTHook
from mmdmt.engine.norm_eval import NormEvalHook
from mmdmt.engine.pseudo_label_writer import ImageLabelWriter, PseudoLabelWriter
from mmdmt.engine.runner import DMTRunner

__all__ = [
    'CPUAmpOptimWrapper',
    'ChannelsLastHook',
    'DMTHook',
    'DMTRunner',
    'ImageLabelWriter',
    'NormEvalHook',
    'PseudoLabelWriter',
]

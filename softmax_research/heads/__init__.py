"""Output layers as pure functions: init, loss, log_prob."""

from softmax_research.heads.adaptive import adaptive
from softmax_research.heads.dense import Geometry, dense, linear
from softmax_research.heads.head import Head
from softmax_research.heads.hierarchical import TREES, hierarchical
from softmax_research.heads.registry import HEADS, head_options, make
from softmax_research.heads.sampled import sampled
from softmax_research.heads.specification import parse, split
from softmax_research.heads.together import parameter_shapes, together

__all__ = [
  "HEADS",
  "TREES",
  "Geometry",
  "Head",
  "adaptive",
  "dense",
  "head_options",
  "hierarchical",
  "linear",
  "make",
  "parameter_shapes",
  "parse",
  "sampled",
  "split",
  "together",
]

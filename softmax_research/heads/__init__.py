"""Output layers as pure functions: init, loss, log_prob; and what they predict.

Shared arguments are described as those of `functional` are.
"""

from softmax_research.heads.adaptive import adaptive
from softmax_research.heads.contrastive import info_nce, nt_xent
from softmax_research.heads.dense import Geometry, LearntScore, dense, linear
from softmax_research.heads.head import Head, Tracker
from softmax_research.heads.hierarchical import TREES, hierarchical
from softmax_research.heads.links import LINKS
from softmax_research.heads.mixture import mixture
from softmax_research.heads.prediction import sample, top_k
from softmax_research.heads.sampled import nce, negative_sampling, sampled
from softmax_research.heads.variants import HEADS, head_options, make
from softmax_research.registry import parse, split
